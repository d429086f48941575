//! What a filter is made from. Nothing is to be written here.

use std::str::FromStr;

use crate::calls;

/// `OTHERWISE[,RULE]...`. The first rule that fits a call decides; if none does, `otherwise`.
pub struct Rules {
    pub otherwise: Action,
    pub rules: Vec<Rule>,
}

/// `CALL=ACTION`, or with a condition, `CALL:ARGUMENT:VALUE=ACTION`. A call is a name or a number.
pub struct Rule {
    pub number: u32,
    pub condition: Option<Condition>,
    pub action: Action,
}

/// That an argument, from 0 to 5, has this value.
#[derive(Clone, Copy)]
pub struct Condition {
    pub argument: u32,
    pub value: u64,
}

/// What becomes of a call.
#[derive(Clone, Copy)]
pub enum Action {
    /// `allow`: it is made.
    Allow,
    /// A number: it is not made, and fails with that errno.
    Fail(u16),
    /// `kill`: the process is killed.
    Kill,
}

impl FromStr for Rules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let otherwise = words.next().unwrap_or_default().parse()?;
        Ok(Self { otherwise, rules: words.map(str::parse).collect::<Result<_, _>>()? })
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no rule: CALL=ACTION or CALL:ARGUMENT:VALUE=ACTION");
        let (call, action) = text.split_once('=').ok_or_else(wrong)?;
        let mut parts = call.split(':');
        let name = parts.next().unwrap_or_default();
        let condition = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(argument), Some(value), None) => {
                let argument = argument.parse().ok().filter(|argument| *argument < 6).ok_or_else(wrong)?;
                let value = match value.strip_prefix("0x") {
                    Some(digits) => u64::from_str_radix(digits, 16),
                    None => value.parse(),
                };
                Some(Condition { argument, value: value.map_err(|_| wrong())? })
            }
            _ => return Err(wrong()),
        };
        let number = calls::number(name).ok_or_else(|| format!("{name} is no call: give its number"))?;
        Ok(Self { number, condition, action: action.parse()? })
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "allow" => Ok(Self::Allow),
            "kill" => Ok(Self::Kill),
            errno => errno.parse().map(Self::Fail).map_err(|_| format!("{text} is no action")),
        }
    }
}
