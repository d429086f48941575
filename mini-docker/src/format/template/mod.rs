//! `--format`: Go's text templates over JSON, as far as people use them with Docker.
//!
//! Fields, pipelines, variables, `if`, `range`, `with`, parentheses, comparison, and Docker's functions (`json`,
//! `join`, `split`, `lower`, `upper`, `title`, `pad`, `truncate`, `println`, `len`, `index`, `printf`). Go's
//! reference is <https://pkg.go.dev/text/template>.

mod eval;
mod functions;
mod parse;

use serde_json::Value;

use crate::error::{Error, Result};

/// A template that was read without error.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self> {
        parse::parse(text)
            .map(|nodes| Self { nodes })
            .map_err(|reason| Error::new(format!("template parsing error: {reason}")))
    }

    /// The text for `value`.
    pub fn render(&self, value: &Value) -> Result<String> {
        eval::render(&self.nodes, value).map_err(|reason| Error::new(format!("template: {reason}")))
    }

    /// The names of the top-level fields that the template prints by themselves, in order: a table's columns.
    pub fn fields(&self) -> Vec<String> {
        self.nodes.iter().filter_map(parse::Node::field).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect() -> Value {
        serde_json::json!({
            "Id": "abc", "Name": "/web", "State": {"Running": true, "Pid": 42, "Error": ""},
            "Args": ["-c", "echo <hi>"], "Mounts": [], "Ratio": 0.5, "Nothing": null,
            "Ports": {"443/tcp": null, "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
            "Labels": {"b": "2", "a.b": "1"},
        })
    }

    #[test]
    fn what_people_write() {
        let templates = [
            "{{.Id}}",
            "{{ .State.Pid }} {{.State.Running}}",
            "{{json .State}}",
            "{{.Args}} {{.Labels}} {{.Ratio}}",
            "{{json .Args}}",
            "{{range .Args}}[{{.}}]{{end}}",
            "{{range .Mounts}}x{{else}}none{{end}}",
            "{{if .State.Running}}up{{else}}down{{end}}",
            "{{if eq .State.Pid 42}}yes{{else if .Nothing}}no{{end}}",
            "{{join .Args \"+\"}}",
            "{{.Name | upper | printf \"<%s>\"}}",
            "{{range $port, $bindings := .Ports}}{{$port}}->{{if $bindings}}{{(index $bindings 0).HostPort}}{{end}};{{end}}",
            "{{index .Labels \"a.b\"}}",
            "{{.Labels.b}} {{.Labels.none}}{{with .Labels.none}} {{.}}{{end}}",
            "{{len .Args}} {{len .Name}}",
            "{{with .State}}{{.Pid}}{{end}}",
            "{{truncate .Name 2}}",
            "a {{- .Id -}} b",
            "{{/* a remark */}}x",
            "{{$x := .Id}}{{$x}}{{$.Name}}",
            "{{.Nothing}}",
            "{{split \"a,b\" \",\"}}",
            "{{title .Id}}{{lower \"ABC\"}}",
            "{{and .State.Running (ne .Id \"x\") (not .Nothing)}}",
            "{{println .Id}}",
            "{{printf \"%q %d %v %5s|%-5s|\" .Id .State.Pid .Args .Id .Id}}",
            "{{printf \"%.2s|%5.1s|\" .Id .Id}}",
            "{{json .}}",
            "table {{.Id}}\t{{.Name}}",
            "{{slice .Name 1}}",
            "{{\"quoted\"}} {{`raw`}} {{1.5}} {{true}}",
            "{{pad .Id 1 2}}|",
        ];
        let table: String = templates
            .into_iter()
            .map(|text| {
                let rendered = Template::parse(text).and_then(|template| template.render(&inspect()));
                format!("{text}\n    {}\n", rendered.unwrap_or_else(|error| format!("ERROR {error}")))
            })
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_is_wrong() {
        let templates = [
            "{{.Id",
            "{{.None}}",
            "{{.State.None}}",
            "{{nosuch .Id}}",
            "{{if .Id}}",
            "{{end}}",
            "{{else}}",
            "{{range .Id}}{{end}}",
            "{{index .Args 5}}",
            "{{.Id.Deep}}",
            "{{}}",
            "{{$x}}",
            "{{\"open}}",
            "{{(.Id}}",
            "{{index .Args \"x\"}}",
            "{{join .Id \",\"}}",
            "{{.Id | }}",
            "{{printf}}",
            "{{slice .Name 9}}",
        ];
        let table: String = templates
            .into_iter()
            .map(|text| {
                let rendered = Template::parse(text).and_then(|template| template.render(&inspect()));
                format!(
                    "{text}\n    {}\n",
                    rendered.map_or_else(|error| error.to_string(), |text| format!("NO ERROR {text}"))
                )
            })
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_tables_columns() {
        let template = Template::parse("{{.ID}}\t{{.Names | upper}}\t{{if .Up}}x{{end}}{{json .}}").unwrap();
        assert_eq!(template.fields(), ["ID", "Names"]);
    }
}
