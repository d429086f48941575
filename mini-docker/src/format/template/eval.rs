//! From a tree and a value to text.

use serde_json::Value;

use super::functions;
use super::parse::{Base, Call, Node, Operand};

type Result<T> = std::result::Result<T, String>;

/// What Docker's values have also where its JSON leaves them out: `{{if .State.Health}}` is no error.
const OMITTED: &[&str] = &["Health", "Healthcheck"];

/// What names mean at one point of a template.
#[derive(Clone)]
struct Scope {
    dot: Value,
    variables: Vec<(String, Value)>,
}

pub(super) fn render(nodes: &[Node], value: &Value) -> Result<String> {
    let mut scope = Scope { dot: value.clone(), variables: vec![(String::new(), value.clone())] };
    let mut text = String::new();
    block(nodes, &mut scope, &mut text)?;
    Ok(text)
}

fn block(nodes: &[Node], scope: &mut Scope, text: &mut String) -> Result<()> {
    for node in nodes {
        match node {
            Node::Text(plain) => text.push_str(plain),
            Node::Print(pipeline) => text.push_str(&functions::print(&evaluate(pipeline, scope)?)),
            Node::Assign(name, pipeline) => {
                let value = evaluate(pipeline, scope)?;
                scope.variables.push((name.clone(), value));
            }
            Node::If(condition, body, otherwise) => {
                let chosen = if functions::is_true(&evaluate(condition, scope)?) { body } else { otherwise };
                block(chosen, &mut scope.clone(), text)?;
            }
            Node::With(subject, body, otherwise) => {
                let value = evaluate(subject, scope)?;
                if functions::is_true(&value) {
                    block(body, &mut Scope { dot: value, ..scope.clone() }, text)?;
                } else {
                    block(otherwise, &mut scope.clone(), text)?;
                }
            }
            Node::Range(names, subject, body, otherwise) => {
                let items = items(evaluate(subject, scope)?)?;
                if items.is_empty() {
                    block(otherwise, &mut scope.clone(), text)?;
                }
                for (key, value) in items {
                    let mut inner = Scope { dot: value.clone(), ..scope.clone() };
                    let values = if names.len() == 2 { vec![key, value] } else { vec![value] };
                    inner.variables.extend(names.iter().cloned().zip(values));
                    block(body, &mut inner, text)?;
                }
            }
        }
    }
    Ok(())
}

/// What a `range` goes through, with index or key. A map's keys come in order, as in Go.
fn items(value: Value) -> Result<Vec<(Value, Value)>> {
    match value {
        Value::Null => Ok(Vec::new()),
        // What an empty map lacks, whatever it would have.
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::Array(values) => {
            Ok(values.into_iter().enumerate().map(|(index, value)| (index.into(), value)).collect())
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (Value::from(key), value)).collect();
            entries.sort_by(|(a, _), (b, _)| a.as_str().cmp(&b.as_str()));
            Ok(entries)
        }
        other => Err(format!("range can't iterate over {}", functions::print(&other))),
    }
}

fn evaluate(pipeline: &[Call], scope: &Scope) -> Result<Value> {
    let mut last: Option<Value> = None;
    for call in pipeline {
        let value = match call {
            Call::Value(operand) if last.is_none() => look_up(operand, scope)?,
            Call::Value(_) => return Err("can't pipe into a value".to_owned()),
            Call::Function(name, arguments) => {
                let mut values =
                    arguments.iter().map(|operand| look_up(operand, scope)).collect::<Result<Vec<_>>>()?;
                values.extend(last);
                functions::call(name, &values)?
            }
        };
        last = Some(value);
    }
    last.ok_or_else(|| "missing value for command".to_owned())
}

fn look_up(operand: &Operand, scope: &Scope) -> Result<Value> {
    let mut value = match &operand.base {
        Base::Dot => scope.dot.clone(),
        Base::Literal(value) => value.clone(),
        Base::Pipeline(pipeline) => evaluate(pipeline, scope)?,
        Base::Variable(name) => {
            let found = scope.variables.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone()).ok_or_else(|| format!("undefined variable \"${name}\""))?
        }
    };
    for field in &operand.fields {
        value = match &value {
            Value::Object(map) => match map.get(field) {
                Some(value) => value.clone(),
                // Go's fields begin with a capital: any other name is a map's key, which may be missing.
                None if !field.starts_with(char::is_uppercase) => Value::Null,
                None if OMITTED.contains(&field.as_str()) => Value::Null,
                None => return Err(format!("there is no field {field:?} here: {}", names(map))),
            },
            other => return Err(format!("can't evaluate field {field} in {}", functions::print(other))),
        };
    }
    Ok(value)
}

/// The fields that there are, for an error about one that is not.
fn names(map: &serde_json::Map<String, Value>) -> String {
    let mut names: Vec<&str> = map.keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}
