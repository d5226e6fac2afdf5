//! The conditions of queries: `{"$expr": {"$eq": [{"$getField": "op_name"}, {"$literal": …}]}}`.

use std::cmp::Ordering;

use serde_json::Value;

use super::failure::{Failure, Result};
use super::sql::{Affinity, Cast, Sql};

/// Kinds of feedback of which a call has many: a field of theirs is that of all of them.
pub(super) const MANY_PER_CALL: [&str; 2] = ["wandb.reaction.1", "wandb.note.1"];

/// A condition, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Literal(Sql, Option<Cast>),
    Field(String),
    Convert(Box<Expr>, Cast),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Comparison, Box<(Expr, Expr)>),
    In(Box<Expr>, Vec<Expr>),
    Contains { texts: Box<(Expr, Expr)>, any_case: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// What has fields that conditions are about.
pub(super) trait Fields {
    /// The value of a field. `cast`: what it is compared with.
    ///
    /// # Errors
    /// For a field that there is not.
    fn field(&self, name: &str, cast: Option<Cast>) -> Result<(Sql, Affinity)>;

    /// Whether what has nothing in a field is found where the field is to equal `null`.
    fn null_equals_nothing(&self) -> bool {
        true
    }

    /// The words of a field that is a list of them.
    fn words(&self, _name: &str) -> Option<Vec<String>> {
        None
    }
}

impl Expr {
    /// Reads the `query` of a request. `None`: every one is wanted.
    pub(super) fn of_query(query: &Value) -> Result<Option<Self>> {
        match query {
            Value::Null => Ok(None),
            query => match query.get("$expr") {
                Some(expr) => match Self::read(expr)? {
                    Self::Literal(..) | Self::Field(_) | Self::Convert(..) => {
                        Err(Failure::invalid(format!(
                            r#""$expr" is {}: expected a condition such as {{"$eq": […]}}"#,
                            short(expr)
                        )))
                    }
                    condition => Ok(Some(condition)),
                },
                None => Err(Failure::invalid(r#"a query needs an "$expr""#)),
            },
        }
    }

    fn read(json: &Value) -> Result<Self> {
        let known = json.as_object().into_iter().flatten().find(|(key, _)| key.starts_with('$'));
        let Some((operator, operand)) = known else {
            return Err(Failure::invalid(format!(
                r#"{} is no operation: expected an object such as {{"$eq": […]}}"#,
                short(json)
            )));
        };
        let comparison = |of| Ok(Self::Compare(of, Box::new(pair(operator, operand)?)));
        match operator.as_str() {
            "$literal" => literal(operand),
            "$getField" => match operand.as_str() {
                Some(name) => Ok(Self::Field(name.to_owned())),
                None => Err(Failure::invalid("$getField needs the name of a field")),
            },
            "$convert" => {
                let input = Self::read(&operand["input"])?;
                Ok(Self::Convert(Box::new(input), cast(&operand["to"])?))
            }
            "$and" => Ok(Self::And(list(operator, operand)?)),
            "$or" => Ok(Self::Or(list(operator, operand)?)),
            "$not" => match &*list(operator, operand)? {
                [one] => Ok(Self::Not(Box::new(one.clone()))),
                other => Err(expected(operator, 1, other.len())),
            },
            "$eq" => comparison(Comparison::Equal),
            "$gt" => comparison(Comparison::Greater),
            "$gte" => comparison(Comparison::GreaterOrEqual),
            "$lt" => comparison(Comparison::Less),
            "$lte" => comparison(Comparison::LessOrEqual),
            "$in" => match operand.as_array().map(Vec::as_slice) {
                Some([one, Value::Array(among)]) => {
                    let among = among.iter().map(Self::read).collect::<Result<_>>()?;
                    Ok(Self::In(Box::new(Self::read(one)?), among))
                }
                _ => Err(Failure::invalid("$in needs a field and a list")),
            },
            "$contains" => {
                let texts = (Self::read(&operand["input"])?, Self::read(&operand["substr"])?);
                let any_case = operand["case_insensitive"].as_bool().unwrap_or(false);
                Ok(Self::Contains { texts: Box::new(texts), any_case })
            }
            other => Err(Failure::invalid(format!("there is no operator {other}"))),
        }
    }

    /// The texts of which a field has to be one for this to hold. `None`: it may hold for others.
    pub(super) fn demanded(&self, wanted: &str) -> Option<Vec<String>> {
        let is_it = |expr: &Expr| matches!(expr, Self::Field(name) if name == wanted);
        let text = |expr: &Expr| match expr {
            Self::Literal(Sql::Text(text), _) => Some(text.clone()),
            _ => None,
        };
        match self {
            Self::And(parts) => parts.iter().find_map(|part| part.demanded(wanted)),
            Self::Compare(Comparison::Equal, sides) if is_it(&sides.0) => {
                Some(vec![text(&sides.1)?])
            }
            Self::In(one, among) if is_it(one) => among.iter().map(text).collect(),
            _ => None,
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, fields: &dyn Fields) -> Result<bool> {
        Ok(self.eval(fields)?.0.truth() == Some(true))
    }

    fn eval(&self, fields: &dyn Fields) -> Result<(Sql, Affinity)> {
        let truth = |is| Ok((Sql::of_bool(is), Affinity::None));
        match self {
            Self::Literal(value, _) => Ok((value.clone(), Affinity::None)),
            Self::Field(name) => fields.field(name, None),
            Self::Convert(input, to) => {
                let affinity = if *to == Cast::Text { Affinity::Text } else { Affinity::Number };
                Ok((input.eval(fields)?.0.cast(*to), affinity))
            }
            Self::And(parts) => truth(all(parts, fields, false)?),
            Self::Or(parts) => truth(all(parts, fields, true)?),
            Self::Not(part) => truth(part.eval(fields)?.0.truth().map(|is| !is)),
            Self::Compare(how, sides) => truth(compare(*how, sides, fields)?),
            Self::In(one, among) => truth(is_among(one, among, fields)?),
            Self::Contains { texts, any_case } => truth(contains(texts, *any_case, fields)?),
        }
    }

    /// The value, where it is known what it is compared with.
    fn eval_beside(&self, cast: Option<Cast>, fields: &dyn Fields) -> Result<(Sql, Affinity)> {
        match self {
            Self::Field(name) => fields.field(name, cast),
            other => other.eval(fields),
        }
    }

    fn literal_cast(&self) -> Option<Cast> {
        match self {
            Self::Literal(_, cast) => *cast,
            _ => None,
        }
    }
}

/// Whether all hold, or any, where each may be unknown.
fn all(parts: &[Expr], fields: &dyn Fields, any: bool) -> Result<Option<bool>> {
    let mut known = Some(!any);
    for part in parts {
        match part.eval(fields)?.0.truth() {
            Some(is) if is == any => return Ok(Some(any)),
            Some(_) => {}
            None => known = None,
        }
    }
    Ok(known)
}

fn compare(how: Comparison, sides: &(Expr, Expr), fields: &dyn Fields) -> Result<Option<bool>> {
    let (left, right) = sides;
    if how == Comparison::Equal {
        if matches!(right, Expr::Literal(Sql::Null, _)) && fields.null_equals_nothing() {
            return Ok(Some(left.eval(fields)?.0 == Sql::Null));
        }
        if let Expr::Field(name) = left
            && MANY_PER_CALL.iter().any(|kind| name.contains(&format!("feedback.[{kind}]")))
        {
            return contains(sides, false, fields);
        }
    }
    let (left_value, of_left) = left.eval_beside(right.literal_cast(), fields)?;
    let (right_value, of_right) = right.eval_beside(left.literal_cast(), fields)?;
    let order = left_value.compare(of_left, &right_value, of_right);
    Ok(order.map(|order| match how {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
    }))
}

fn is_among(one: &Expr, among: &[Expr], fields: &dyn Fields) -> Result<Option<bool>> {
    let (value, affinity) = one.eval_beside(shared_cast(among), fields)?;
    let mut known = Some(false);
    for other in among {
        match value.compare(affinity, &other.eval(fields)?.0, Affinity::None) {
            Some(Ordering::Equal) => return Ok(Some(true)),
            Some(_) => {}
            None => known = None,
        }
    }
    Ok(known)
}

/// What all literals of a list are.
fn shared_cast(among: &[Expr]) -> Option<Cast> {
    let mut casts = among.iter().map(Expr::literal_cast);
    let first = casts.next()??;
    casts.try_fold(first, |shared, cast| match (shared, cast?) {
        (Cast::Int | Cast::Double, Cast::Double) | (Cast::Double, Cast::Int) => Some(Cast::Double),
        (shared, cast) => (shared == cast).then_some(shared),
    })
}

fn contains(texts: &(Expr, Expr), any_case: bool, fields: &dyn Fields) -> Result<Option<bool>> {
    // Like the server's, this knows of no letters but those of ASCII.
    let folded = |text: String| if any_case { text.to_ascii_lowercase() } else { text };
    let part = texts.1.eval(fields)?.0.to_text().map(folded);
    if let Expr::Field(name) = &texts.0
        && let Some(words) = fields.words(name)
    {
        return Ok(part.map(|part| words.into_iter().any(|word| folded(word) == part)));
    }
    let text = texts.0.eval(fields)?.0.to_text().map(folded);
    Ok(text.zip(part).map(|(text, part)| text.contains(&part)))
}

fn literal(json: &Value) -> Result<Expr> {
    let cast = match json {
        Value::Array(_) | Value::Object(_) => {
            return Err(Failure::invalid(format!(
                "the literal {} is a list or an object: expected text, number, bool or null",
                short(json)
            )));
        }
        Value::Bool(_) => Some(Cast::Bool),
        Value::Number(number) if number.to_string().contains(['.', 'e', 'E']) => Some(Cast::Double),
        Value::Number(_) => Some(Cast::Int),
        Value::Null | Value::String(_) => None,
    };
    Ok(Expr::Literal(Sql::of_json(json), cast))
}

fn cast(to: &Value) -> Result<Cast> {
    match to.as_str() {
        Some("int") => Ok(Cast::Int),
        Some("double") => Ok(Cast::Double),
        Some("bool") => Ok(Cast::Bool),
        Some("string") => Ok(Cast::Text),
        Some("exists") => Ok(Cast::Exists),
        _ => Err(Failure::invalid(format!(
            "cannot convert to {}: expected double, string, int, bool or exists",
            short(to)
        ))),
    }
}

fn list(operator: &str, operand: &Value) -> Result<Vec<Expr>> {
    match operand.as_array().map(Vec::as_slice) {
        None | Some([]) => Err(Failure::invalid(format!("{operator} needs a list of operands"))),
        Some(items) => items.iter().map(Expr::read).collect(),
    }
}

fn pair(operator: &str, operand: &Value) -> Result<(Expr, Expr)> {
    match <[Expr; 2]>::try_from(list(operator, operand)?) {
        Ok([left, right]) => Ok((left, right)),
        Err(other) => Err(expected(operator, 2, other.len())),
    }
}

fn expected(operator: &str, wanted: usize, found: usize) -> Failure {
    Failure::invalid(format!("{operator} has {found} operands: expected {wanted}"))
}

/// The beginning of a value, for a message.
fn short(json: &Value) -> String {
    let text = json.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
