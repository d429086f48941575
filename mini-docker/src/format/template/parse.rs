//! From text to a tree.

use serde_json::Value;

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Printed as it is.
    Text(String),
    /// `{{pipeline}}`, printed.
    Print(Pipeline),
    /// `{{$name := pipeline}}`.
    Assign(String, Pipeline),
    /// `{{if}}`, with its `{{else}}`.
    If(Pipeline, Vec<Node>, Vec<Node>),
    /// `{{with}}`, with its `{{else}}`.
    With(Pipeline, Vec<Node>, Vec<Node>),
    /// `{{range}}`: the names for key and value, what to go through, the body, the `{{else}}`.
    Range(Vec<String>, Pipeline, Vec<Node>, Vec<Node>),
}

/// Calls, each of which gets the result of the one before it as its last argument.
pub(super) type Pipeline = Vec<Call>;

/// A value, or a function and its arguments.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Value(Operand),
    Function(String, Vec<Operand>),
}

/// A value, and the fields to go down from it.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Pipeline(Pipeline),
}

impl Node {
    /// The name of the top-level field that this node prints.
    pub(super) fn field(&self) -> Option<String> {
        let Self::Print(pipeline) = self else { return None };
        let operand = match pipeline.first()? {
            Call::Value(operand) => operand,
            Call::Function(_, arguments) => arguments.first()?,
        };
        matches!(operand.base, Base::Dot).then(|| operand.fields.first().cloned()).flatten()
    }
}

type Result<T> = std::result::Result<T, String>;

pub(super) fn parse(text: &str) -> Result<Vec<Node>> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter() };
    let (nodes, end) = parser.block()?;
    match end {
        End::Text => Ok(nodes),
        End::Keyword => Err("unexpected {{end}}".to_owned()),
        End::Else(_) => Err("unexpected {{else}}".to_owned()),
    }
}

/// Text, or the tokens between braces.
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Dot,
    /// `.name`, and whether it follows something without a space, as in `$x.name`.
    Field(String, bool),
    Variable(String),
    Word(String),
    Literal(Value),
    Open,
    Close,
    Pipe,
    Comma,
    Assign,
}

/// Cuts a template at its braces; a `-` inside them takes the white space outside away.
fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let (before, action) =
            rest.split_once("{{").map_or((rest, None), |(before, action)| (before, Some(action)));
        let mut before = if trim { before.trim_start() } else { before };
        let Some(action) = action else {
            pieces.push(Piece::Text(before.to_owned()));
            return Ok(pieces);
        };
        let action = match action.strip_prefix("- ") {
            Some(action) => {
                before = before.trim_end();
                action
            }
            None => action,
        };
        pieces.push(Piece::Text(before.to_owned()));
        let end = action_end(action)?;
        let mut inside = &action[..end];
        rest = &action[end + 2..];
        trim = inside.ends_with(" -");
        if trim {
            inside = &inside[..inside.len() - 2];
        }
        if !inside.trim().starts_with("/*") {
            pieces.push(Piece::Action(tokens(inside)?));
        }
    }
}

/// Where the closing braces are, outside of quotes.
fn action_end(action: &str) -> Result<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (index, character) in action.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            None if character == '"' || character == '`' => quote = Some(character),
            None if action[index..].starts_with("}}") => return Ok(index),
            _ => {}
        }
    }
    Err(if quote.is_some() { "unterminated quoted string" } else { "unclosed action" }.to_owned())
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    let mut glued = false;
    while let Some(first) = rest.chars().next() {
        let name_end =
            |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let (token, length) = match first {
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ':' if rest.starts_with(":=") => (Token::Assign, 2),
            '"' => string(rest)?,
            '`' => {
                let end = rest[1..].find('`').ok_or("unterminated raw string")?;
                (Token::Literal(rest[1..=end].into()), end + 2)
            }
            '.' => match name_end(&rest[1..]) {
                0 => (Token::Dot, 1),
                end => (Token::Field(rest[1..=end].to_owned(), glued), end + 1),
            },
            '$' => {
                let end = name_end(&rest[1..]);
                (Token::Variable(rest[1..=end].to_owned()), end + 1)
            }
            '0'..='9' | '-' | '+' => {
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c))
                    .unwrap_or(rest.len());
                let number = serde_json::from_str(&rest[..end])
                    .map_err(|_| format!("bad number: {}", &rest[..end]))?;
                (Token::Literal(number), end)
            }
            first if first.is_alphabetic() || first == '_' => {
                let end = name_end(rest);
                let token = match &rest[..end] {
                    "true" => Token::Literal(true.into()),
                    "false" => Token::Literal(false.into()),
                    "nil" => Token::Literal(Value::Null),
                    word => Token::Word(word.to_owned()),
                };
                (token, end)
            }
            other => return Err(format!("unexpected {other:?} in action")),
        };
        tokens.push(token);
        glued = !rest[length..].starts_with(char::is_whitespace);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// A quoted string at the start of `text`, and its length there.
fn string(text: &str) -> Result<(Token, usize)> {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == '"' {
            // Go's escapes that matter here are JSON's.
            let value =
                serde_json::from_str(&text[..=index]).map_err(|error| format!("bad string: {error}"))?;
            return Ok((Token::Literal(value), index + 1));
        }
    }
    Err("unterminated quoted string".to_owned())
}

/// What ended a block.
enum End {
    Text,
    Keyword,
    Else(Vec<Token>),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, End)> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let Some((first, rest)) = tokens.split_first() else {
                return Err("missing value for command".to_owned());
            };
            match first {
                Token::Word(word) if word == "end" => return Ok((nodes, End::Keyword)),
                Token::Word(word) if word == "else" => return Ok((nodes, End::Else(rest.to_vec()))),
                Token::Word(word) if ["if", "with", "range"].contains(&word.as_str()) => {
                    nodes.push(self.control(word, rest)?);
                }
                Token::Variable(name) if rest.first() == Some(&Token::Assign) => {
                    nodes.push(Node::Assign(name.clone(), pipeline(&rest[1..])?));
                }
                _ => nodes.push(Node::Print(pipeline(&tokens)?)),
            }
        }
        Ok((nodes, End::Text))
    }

    fn control(&mut self, word: &str, tokens: &[Token]) -> Result<Node> {
        let (names, tokens) = if word == "range" { loop_names(tokens) } else { (Vec::new(), tokens) };
        let subject = pipeline(tokens)?;
        let (body, end) = self.block()?;
        let otherwise = match end {
            End::Keyword => Vec::new(),
            End::Text => return Err(format!("unexpected end: {{{{{word}}}}} has no {{{{end}}}}")),
            // `{{else if x}}` is an `if` inside the `else`, and shares its `end`.
            End::Else(tokens) => match tokens.split_first() {
                Some((Token::Word(next), rest)) if next == "if" || next == "with" => {
                    vec![self.control(next, rest)?]
                }
                Some(_) => return Err("unexpected text after {{else".to_owned()),
                None => match self.block()? {
                    (otherwise, End::Keyword) => otherwise,
                    _ => return Err("{{else}} has no {{end}}".to_owned()),
                },
            },
        };
        Ok(match word {
            "if" => Node::If(subject, body, otherwise),
            "with" => Node::With(subject, body, otherwise),
            _ => Node::Range(names, subject, body, otherwise),
        })
    }
}

/// `$value :=` or `$key, $value :=` before what a `range` goes through.
fn loop_names(tokens: &[Token]) -> (Vec<String>, &[Token]) {
    match tokens {
        [Token::Variable(key), Token::Comma, Token::Variable(value), Token::Assign, rest @ ..] => {
            (vec![key.clone(), value.clone()], rest)
        }
        [Token::Variable(value), Token::Assign, rest @ ..] => (vec![value.clone()], rest),
        _ => (Vec::new(), tokens),
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline> {
    let mut depth = 0_usize;
    tokens
        .split(|token| {
            match token {
                Token::Open => depth += 1,
                Token::Close => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && *token == Token::Pipe
        })
        .map(call)
        .collect()
}

fn call(tokens: &[Token]) -> Result<Call> {
    match tokens.split_first() {
        None => Err("missing value for command".to_owned()),
        Some((Token::Word(function), rest)) => Ok(Call::Function(function.clone(), operands(rest)?)),
        Some(_) => match operands(tokens)?.as_slice() {
            [operand] => Ok(Call::Value(operand.clone())),
            _ => Err("can't give argument to non-function".to_owned()),
        },
    }
}

fn operands(mut tokens: &[Token]) -> Result<Vec<Operand>> {
    let mut operands = Vec::new();
    while let Some((first, mut rest)) = tokens.split_first() {
        let mut fields = Vec::new();
        let base = match first {
            Token::Dot => Base::Dot,
            Token::Field(name, _) => {
                fields.push(name.clone());
                Base::Dot
            }
            Token::Variable(name) => Base::Variable(name.clone()),
            Token::Literal(value) => Base::Literal(value.clone()),
            // A function without arguments.
            Token::Word(word) => Base::Pipeline(vec![Call::Function(word.clone(), Vec::new())]),
            Token::Open => {
                let close = closing(rest).ok_or("unclosed left paren")?;
                let inside = pipeline(&rest[..close])?;
                rest = &rest[close + 1..];
                Base::Pipeline(inside)
            }
            other => return Err(format!("unexpected {other:?} in operand")),
        };
        // `.A.B` comes as two tokens, `(…).A` as several.
        while let Some((Token::Field(name, true), after)) = rest.split_first() {
            fields.push(name.clone());
            rest = after;
        }
        operands.push(Operand { base, fields });
        tokens = rest;
    }
    Ok(operands)
}

/// Where the parenthesis that is open before `tokens` closes.
fn closing(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => depth += 1,
            Token::Close if depth == 0 => return Some(index),
            Token::Close => depth -= 1,
            _ => {}
        }
    }
    None
}
