//! `inspect`: everything about containers and images.

use clap::{Args, ValueEnum};
use mini_docker::format::template::Template;
use mini_docker::{Engine, Error, Result, inspect};
use serde_json::{Value, json};

use super::report;

/// What `inspect` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Print "json", or a Go template
    #[arg(short, long)]
    format: Option<String>,
    /// Look only for objects of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// Show the sizes of containers' files
    #[arg(short, long)]
    size: bool,
    /// Names or IDs
    #[arg(required = true, value_name = "NAME|ID")]
    objects: Vec<String>,
}

/// A type of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A container
    Container,
    /// An image
    Image,
    /// A network
    Network,
    /// A volume
    Volume,
}

impl Options {
    /// Prints the objects as one JSON list, or each in the user's format. With `only`, the group that the command was
    /// called in, others are not looked for.
    pub(crate) fn run(&self, engine: &Engine, only: Option<Kind>) -> Result<u8> {
        let kind = only.or(self.kind);
        let template = match self.format.as_deref() {
            None | Some("json" | "") => None,
            Some(text) => Some(Template::parse(text)?),
        };
        let mut found = Vec::new();
        let mut code = 0;
        for name in &self.objects {
            match self.find(engine, kind, name) {
                Ok(object) => found.push(object),
                Err(error) => {
                    report(&error);
                    code = 1;
                }
            }
        }
        match (template, self.format.as_deref()) {
            (Some(template), _) => {
                for object in &found {
                    println!("{}", template.render(object)?);
                }
            }
            (None, Some("json")) => println!("{}", Value::from(found)),
            (None, _) => println!("{}", indented(&Value::from(found))),
        }
        Ok(code)
    }

    fn find(&self, engine: &Engine, kind: Option<Kind>, name: &str) -> Result<Value> {
        if kind == Some(Kind::Network) {
            return inspect::network(engine, &engine.networks().find(name)?);
        }
        if kind == Some(Kind::Volume) {
            return Ok(inspect::volume(&engine.volumes().find(name)?));
        }
        if kind != Some(Kind::Image) {
            match engine.containers().find(name) {
                Ok(container) => {
                    let mut object = inspect::container(engine, &container)?;
                    if self.size {
                        let upper = engine.containers().directory(&container.id).join("upper");
                        let own = overlay_layers::usage(&upper)?;
                        let mut all = own;
                        for layer in &container.layers {
                            all += engine.images().layers().size(layer)?;
                        }
                        object["SizeRw"] = json!(own);
                        object["SizeRootFs"] = json!(all);
                    }
                    return Ok(object);
                }
                Err(error) if kind.is_some() || !error.is_missing() => return Err(error),
                Err(_) => {}
            }
        }
        match engine.images().resolve(name) {
            Ok(image) => inspect::image(engine, &image),
            Err(image_pull::Error::NoSuchImage { .. }) if kind.is_none() => {
                match (engine.networks().find(name), engine.volumes().find(name)) {
                    (Ok(network), _) => inspect::network(engine, &network),
                    (_, Ok(volume)) => Ok(inspect::volume(&volume)),
                    (Err(error), _) | (_, Err(error)) if !error.is_missing() => Err(error),
                    _ => Err(Error::new(format!("No such object: {name}"))),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// JSON with Docker's indentation of four spaces.
fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(value, &mut serializer).expect("a value is JSON");
    String::from_utf8(bytes).expect("JSON is text")
}
