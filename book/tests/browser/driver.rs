//! A real browser, told what to do over the protocol that the W3C calls `WebDriver`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A browser without a window. It ends when dropped.
pub(crate) struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// Starts one whose page has this size in pixels.
    pub(crate) fn open(width: u32, height: u32) -> Self {
        // Process 1 of a namespace of its own: with it, whatever the browser has started is gone. So is what it has
        // written, with the last process that sees it.
        let line = "mount -t tmpfs browser /mnt && TMPDIR=/mnt exec chromedriver --port=0";
        let mut driver = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", line])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare runs chromedriver");
        let said = BufReader::new(driver.stdout.take().expect("a pipe"));
        let port = said.lines().map_while(Result::ok).find_map(|line| {
            line.split_once("started successfully on port ")
                .map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        let host = format!("http://127.0.0.1:{}", port.expect("chromedriver says where it listens"));
        let size = format!("--window-size={width},{height}");
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &size];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"}, "goog:chromeOptions": {"args": arguments}}}});
        let mut browser = Self { driver, session: format!("{host}/session") };
        let made = browser.post("", &wanted);
        let id = made["sessionId"].as_str().expect("a session has an ID");
        browser.session = format!("{host}/session/{id}");
        // A window is never as narrow as a telephone; what it pretends to be is.
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        browser.post("/goog/cdp/execute", &command);
        browser
    }

    /// Shows a page of the disk's, and waits until it is loaded.
    pub(crate) fn visit(&self, page: &Path) {
        self.post("/url", &json!({"url": format!("file://{}", page.display())}));
    }

    /// What a script in the page returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Moves the mouse over the first element that a CSS selector finds, then over another, and clicks on that: a user's
    /// click, which scripts may not do for everything.
    pub(crate) fn click(&self, over: &str, target: &str) {
        let moves = [over, target].map(|selector| {
            let element = self.post("/element", &json!({"using": "css selector", "value": selector}));
            json!({"type": "pointerMove", "duration": 50, "x": 0, "y": 0, "origin": element})
        });
        let presses = ["pointerDown", "pointerUp"].map(|kind| json!({"type": kind, "button": 0}));
        let actions = [moves, presses].concat();
        let mouse = json!({"type": "pointer", "id": "mouse", "actions": actions});
        self.post("/actions", &json!({"actions": [mouse]}));
    }

    /// Waits until an expression in the page is true.
    pub(crate) fn until(&self, condition: &str) {
        let patience = Instant::now() + Duration::from_secs(10);
        while self.run(&format!("return Boolean({condition})")) != json!(true) {
            assert!(Instant::now() < patience, "this did not happen in the page: {condition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The errors that the page and its scripts have caused since this was last asked.
    pub(crate) fn errors(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}{command}", self.session);
        let mut answer = ureq::post(&url)
            .config()
            .http_status_as_error(false)
            .build()
            .send_json(body)
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        let answer: Value = answer.body_mut().read_json().expect("chromedriver answers in JSON");
        assert!(answer["value"]["error"].is_null(), "{url}: {}", answer["value"]["message"]);
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // There is nothing to be done about one that has ended already.
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
