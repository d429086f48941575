//! The functions that templates can call, and how Go prints values.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

type Result<T> = std::result::Result<T, String>;

/// Calls the function `name`.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value> {
    Ok(match (name, arguments) {
        ("json", [value]) => serde_json::to_string(value).map_err(|error| error.to_string())?.into(),
        ("join", [Value::Array(items), separator]) => {
            items.iter().map(print).collect::<Vec<_>>().join(&print(separator)).into()
        }
        ("join", [Value::Null, _]) => "".into(),
        ("split", [text, separator]) => {
            let (text, separator) = (print(text), print(separator));
            text.split(separator.as_str()).map(Value::from).collect()
        }
        ("lower", [text]) => print(text).to_lowercase().into(),
        ("upper", [text]) => print(text).to_uppercase().into(),
        ("title", [text]) => title(&print(text)).into(),
        ("pad", [text, before, after]) => {
            format!("{}{}{}", " ".repeat(count(before)?), print(text), " ".repeat(count(after)?)).into()
        }
        ("truncate", [text, length]) => print(text).chars().take(count(length)?).collect::<String>().into(),
        ("println", values) => format!("{}\n", values.iter().map(print).collect::<Vec<_>>().join(" ")).into(),
        ("print", values) => values.iter().map(print).collect::<String>().into(),
        ("printf", [format, values @ ..]) => printf(&print(format), values)?.into(),
        ("len", [value]) => length(value)?.into(),
        ("index", [value, path @ ..]) => {
            path.iter().try_fold(value.clone(), |value, key| index(&value, key))?
        }
        ("slice", [value, bounds @ ..]) => slice(value, bounds)?,
        ("not", [value]) => (!is_true(value)).into(),
        ("and", [.., last]) => arguments.iter().find(|value| !is_true(value)).unwrap_or(last).clone(),
        ("or", [.., last]) => arguments.iter().find(|value| is_true(value)).unwrap_or(last).clone(),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            others.iter().any(|other| equal(first, other)).into()
        }
        ("ne", [a, b]) => (!equal(a, b)).into(),
        ("lt", [a, b]) => (order(a, b)? == Ordering::Less).into(),
        ("le", [a, b]) => (order(a, b)? != Ordering::Greater).into(),
        ("gt", [a, b]) => (order(a, b)? == Ordering::Greater).into(),
        ("ge", [a, b]) => (order(a, b)? != Ordering::Less).into(),
        (known, _) if KNOWN.contains(&known) => return Err(format!("{known} does not take these arguments")),
        _ => return Err(format!("function \"{name}\" not defined")),
    })
}

const KNOWN: &[&str] = &[
    "json", "join", "split", "lower", "upper", "title", "pad", "truncate", "println", "print", "printf",
    "len", "index", "slice", "not", "and", "or", "eq", "ne", "lt", "le", "gt", "ge",
];

/// A value as Go prints it.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", print(value))).collect();
            entries.sort_unstable();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// Whether a value counts as true: everything but false, zero, nothing and the empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b) == Ordering::Equal,
        _ => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => Ok(a.total_cmp(&b)),
            _ => Err(format!("can't compare {} and {}", print(a), print(b))),
        },
    }
}

fn count(value: &Value) -> Result<usize> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("{} is not a count", print(value)))
}

fn length(value: &Value) -> Result<usize> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) => Ok(text.len()),
        Value::Array(items) => Ok(items.len()),
        Value::Object(map) => Ok(map.len()),
        other => Err(format!("len of {}", print(other))),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value> {
    match (value, key) {
        (Value::Array(items), key) => {
            items.get(count(key)?).cloned().ok_or_else(|| format!("index out of range: {}", print(key)))
        }
        // A map's missing entry is no error. In a map of texts it is an empty one, and an empty map is taken for one of texts.
        (Value::Object(map), Value::String(key)) => Ok(match map.get(key) {
            Some(value) => value.clone(),
            None if map.values().all(Value::is_string) => "".into(),
            None => Value::Null,
        }),
        (value, key) => Err(format!("can't index {} with {}", print(value), print(key))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value> {
    let from = bounds.first().map_or(Ok(0), count)?;
    let to = bounds.get(1).map_or_else(|| length(value), count)?;
    let out = || format!("slice bounds out of range: {from}:{to}");
    match value {
        Value::String(text) => text.get(from..to).map(Value::from).ok_or_else(out),
        Value::Array(items) => items.get(from..to).map(|items| items.to_vec().into()).ok_or_else(out),
        other => Err(format!("can't slice {}", print(other))),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    let capital = |character: char| {
        let first = std::mem::replace(&mut start, !character.is_alphanumeric());
        if first { character.to_uppercase().collect::<String>() } else { character.to_string() }
    };
    text.chars().map(capital).collect()
}

/// The number that `text` begins with, or 0; at most 1000.
fn number(text: &mut Peekable<Chars<'_>>) -> usize {
    let mut number = 0;
    while let Some(digit) = text.peek().and_then(|digit| digit.to_digit(10)) {
        number = (number * 10 + digit as usize).min(1000);
        text.next();
    }
    number
}

/// `%s`, `%v`, `%d`, `%q`, `%t`, `%%`, with a width, `-`, and after a `.` how much is shown of a text.
fn printf(format: &str, values: &[Value]) -> Result<String> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = format.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let left = rest.next_if_eq(&'-').is_some();
        let width = number(&mut rest);
        let precision = rest.next_if_eq(&'.').map(|_| number(&mut rest));
        let verb = rest.next().ok_or("printf: the format ends with %")?;
        if verb == '%' {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("printf: no value for %{verb}"))?;
        let shown = match verb {
            's' | 'v' | 'd' | 't' => print(value),
            'q' => format!("{:?}", print(value)),
            other => return Err(format!("printf: %{other} is not known")),
        };
        let shown: String = shown.chars().take(precision.unwrap_or(usize::MAX)).collect();
        let padding = " ".repeat(width.saturating_sub(shown.chars().count()));
        let (before, after) = if left { ("", padding.as_str()) } else { (padding.as_str(), "") };
        text.extend([before, &shown, after]);
    }
    Ok(text)
}
