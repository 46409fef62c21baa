//! Times on the wire: RFC 3339, UTC, with microseconds (api.md section 2).

use std::fmt;
use std::str::FromStr;

use dtvn_messages::Timestamp;
use jiff::fmt::StdFmtWrite;
use jiff::fmt::temporal::DateTimePrinter;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time in JSON: `2026-01-01T00:00:00.000000Z`. Times after the year 9999 are shown as its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Time(pub Timestamp);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

impl Time {
    /// The time by this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        Self::from(jiff::Timestamp::now())
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0.seconds()
    }
}

impl From<jiff::Timestamp> for Time {
    /// Times before 1970 become 1970.
    fn from(time: jiff::Timestamp) -> Self {
        Self(Timestamp(u64::try_from(time.as_microsecond()).unwrap_or(0)))
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_microsecond(microseconds).unwrap_or(jiff::Timestamp::MAX);
        PRINTER.print_timestamp(&time, StdFmtWrite(formatter)).map_err(|_| fmt::Error)
    }
}

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time from 1970 on, such as 2026-01-01T18:30:00Z")]
pub struct TimeError(String);

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let refused = || TimeError(text.chars().take(64).collect());
        let time: jiff::Timestamp = text.parse().map_err(|_| refused())?;
        let microseconds = u64::try_from(time.as_microsecond()).map_err(|_| refused())?;
        Ok(Self(Timestamp(microseconds)))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an RFC 3339 time")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(TimeVisitor)
    }
}

#[cfg(feature = "openapi")]
mod schema {
    use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
    use utoipa::openapi::{RefOr, Schema};

    impl utoipa::PartialSchema for super::Time {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::String))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
                .examples(["2026-01-01T18:30:00.000000Z"])
                .build()
                .into()
        }
    }

    impl utoipa::ToSchema for super::Time {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_with_all_six_digits_and_read_back() {
        let time = Time(Timestamp(1_767_225_600_120_000));
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-01-01T00:00:00.120000Z\"");
        assert_eq!(serde_json::from_str::<Time>("\"2026-01-01T00:00:00.120000Z\"").unwrap(), time);
    }

    #[test]
    fn another_zone_is_the_same_instant() {
        assert_eq!("2026-01-01T02:00:00+02:00".parse::<Time>().unwrap(), Time(Timestamp(1_767_225_600_000_000)));
    }

    #[test]
    fn the_ends_of_the_range_do_not_fail() {
        assert_eq!(Time(Timestamp(0)).to_string(), "1970-01-01T00:00:00.000000Z");
        assert!(Time(Timestamp(u64::MAX)).to_string().starts_with("9999-12-3"));
    }

    #[test]
    fn what_is_not_a_time_is_named() {
        for text in ["", "yesterday", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"] {
            let error = serde_json::from_str::<Time>(&format!("{text:?}")).unwrap_err();
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
    }
}
