//! Facts that may be missing for a reason.

use serde::{Deserialize, Serialize};

/// An optional fact in its three states.
///
/// In JSON: `{"value": 42}`, `"not_supported"` or `{"error": "..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact<T> {
    /// The source gave a value.
    Value(T),
    /// The source exists and has no such value: hardware or driver lack it.
    NotSupported,
    /// Asking for the value failed.
    Error(String),
}

impl<T> Fact<T> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::NotSupported | Self::Error(_) => None,
        }
    }

    /// Converts the value and keeps the other states.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Fact<U> {
        self.and_then(|value| Fact::Value(convert(value)))
    }

    /// Goes on to a fact that the value decides, and keeps the other states.
    pub fn and_then<U>(self, next: impl FnOnce(T) -> Fact<U>) -> Fact<U> {
        match self {
            Self::Value(value) => next(value),
            Self::NotSupported => Fact::NotSupported,
            Self::Error(reason) => Fact::Error(reason),
        }
    }
}

impl<T> From<Option<T>> for Fact<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::NotSupported, Self::Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_states_look_different_in_json() {
        let json = |fact: Fact<u8>| serde_json::to_string(&fact).unwrap();
        assert_eq!(json(Fact::Value(42)), r#"{"value":42}"#);
        assert_eq!(json(Fact::NotSupported), r#""not_supported""#);
        assert_eq!(json(Fact::Error("gone".into())), r#"{"error":"gone"}"#);
        assert_eq!(serde_json::from_str::<Fact<u8>>(r#"{"value":42}"#).unwrap(), Fact::Value(42));
    }

    #[test]
    fn conversions_keep_the_reason() {
        assert_eq!(Fact::Value(2).map(|v| v + 1), Fact::Value(3));
        assert_eq!(Fact::<u8>::NotSupported.map(|v| v + 1), Fact::NotSupported);
        assert_eq!(Fact::Value(2).and_then(|_| Fact::<u8>::Error("no".into())), Fact::Error("no".into()));
    }
}
