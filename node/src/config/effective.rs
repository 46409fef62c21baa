//! From file, environment and flags to one checked [`ValidatorConfig`] (architecture.md section 8): flags win over the
//! environment, which wins over the file, which wins over the defaults; and each value remembers where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::{Table, Value};

use super::original;
use super::settings::{self, OTHER_VARIABLES, SETTINGS, Setting, SettingKind};
use super::validator::ValidatorConfig;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Variable(name) => write!(formatter, "environment {name}"),
            Self::Flag(name) => write!(formatter, "flag --{name}"),
        }
    }
}

/// What the values are taken from.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// The environment: names and values. Empty values count as not set.
    pub variables: Vec<(String, String)>,
    /// Flags that were given: settings that have one, and texts. Empty texts count as not given.
    pub flags: Vec<(&'static Setting, String)>,
}

impl Inputs {
    /// Flags, this process's environment, and the file that a flag or `DTVN_CONFIG` names.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static Setting, String)>) -> Self {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("DTVN_"))
            .collect();
        let named = variables.iter().find(|(name, value)| name == "DTVN_CONFIG" && !value.is_empty());
        let file = file.or_else(|| named.map(|(_, value)| PathBuf::from(value)));
        Self { file, variables, flags }
    }
}

/// One setting with its value and source.
#[derive(Debug, Clone)]
pub struct EffectiveValue {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value; none if nobody set it.
    pub value: Option<Value>,
    /// Where that came from.
    pub source: Source,
}

impl EffectiveValue {
    /// The value for people: secrets hidden, defaults in words.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.value {
            None => self.setting.default.to_owned(),
            Some(_) if self.setting.is_secret => "(set)".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(",")
            }
            Some(other) => other.to_string(),
        }
    }
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The settings as types.
    pub config: ValidatorConfig,
    /// Each setting with its source, in the order of the documents.
    pub values: Vec<EffectiveValue>,
    /// What is odd but no error.
    pub warnings: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// The file is of the original's form.
    #[error(
        "{} is a configuration file of the original DTVN; it is not read. Its keys have gone here:\n{places}\n\
             Start with an empty TOML file; `dtvn config check` shows all keys", path.display()
    )]
    Original {
        /// The file.
        path: PathBuf,
        /// A line for each key.
        places: String,
    },
    /// The file has keys that do not exist.
    #[error("the configuration file {} has unknown keys:\n{keys}", path.display())]
    UnknownKeys {
        /// The file.
        path: PathBuf,
        /// A line for each key, with the nearest that exists.
        keys: String,
    },
    /// A value does not fit its setting.
    #[error("{key} ({from}): {message}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Where the value came from.
        from: Source,
        /// What is wrong with it.
        message: String,
    },
    /// Settings do not fit together.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
}

impl Effective {
    /// Reads, merges and checks.
    ///
    /// # Errors
    /// With a message that says which value from where is wrong and how.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigError> {
        let mut merged: BTreeMap<&'static str, (Value, Source)> = BTreeMap::new();
        if let Some(path) = &inputs.file {
            merged.extend(read_file(path)?);
        }
        let mut warnings = Vec::new();
        for (name, text) in inputs.variables.iter().filter(|(_, text)| !text.is_empty()) {
            match of_variable(name) {
                Some(setting) => insert(&mut merged, setting, text, Source::Variable(name.clone()))?,
                None if OTHER_VARIABLES.contains(&name.as_str()) => {}
                None => warnings.push(unknown_variable(name)),
            }
        }
        for (setting, text) in inputs.flags.iter().filter(|(_, text)| !text.is_empty()) {
            insert(&mut merged, setting, text, Source::Flag(setting.flag.unwrap_or(setting.key)))?;
        }
        let config = deserialize(&merged)?;
        config.check().map_err(ConfigError::Faults)?;
        let values = SETTINGS.iter().map(|setting| match merged.remove(setting.key) {
            Some((value, source)) => EffectiveValue { setting, value: Some(value), source },
            None => EffectiveValue { setting, value: None, source: Source::Default },
        });
        Ok(Self { config, values: values.collect(), warnings })
    }
}

type Merged = BTreeMap<&'static str, (Value, Source)>;

fn insert(merged: &mut Merged, setting: &'static Setting, text: &str, source: Source) -> Result<(), ConfigError> {
    match value_of(setting.kind, text) {
        Ok(value) => {
            merged.insert(setting.key, (value, source));
            Ok(())
        }
        Err(message) => Err(ConfigError::Value { key: setting.key, from: source, message }),
    }
}

fn value_of(kind: SettingKind, text: &str) -> Result<Value, String> {
    match kind {
        SettingKind::Text | SettingKind::Path => Ok(Value::String(text.to_owned())),
        SettingKind::Number => text.parse().map(Value::Integer).map_err(|_| format!("{text:?} is not a whole number")),
        SettingKind::Switch => match text {
            "true" | "1" | "yes" | "on" => Ok(Value::Boolean(true)),
            "false" | "0" | "no" | "off" => Ok(Value::Boolean(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        SettingKind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
    }
}

fn of_variable(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.variable == Some(name) || setting.nested_variable() == name)
}

fn unknown_variable(name: &str) -> String {
    let guess = name.trim_start_matches("DTVN").trim_start_matches('_').to_lowercase().replace("__", ".");
    match settings::nearest(&guess).and_then(settings::find) {
        Some(setting) => {
            let nested = setting.nested_variable();
            format!("the environment variable {name} is not known; is {} meant?", setting.variable.unwrap_or(&nested))
        }
        None => format!("the environment variable {name} is not known"),
    }
}

fn read_file(path: &Path) -> Result<Merged, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        return Err(ConfigError::Original { path: path.to_owned(), places: original::explain(&text) });
    }
    let table: Table = text
        .parse()
        .map_err(|error| ConfigError::Syntax { path: path.to_owned(), message: without_the_line(&error, &text) })?;
    let mut unknown = Vec::new();
    let mut merged = Merged::new();
    for (key, value) in flatten(table) {
        match settings::find(&key) {
            Some(setting) => {
                let value = if setting.kind == SettingKind::Path { beside(path, value) } else { value };
                merged.insert(setting.key, (value, Source::File(path.to_owned())));
            }
            None => unknown.push(match settings::nearest(&key) {
                Some(nearest) => format!("  {key}: is {nearest} meant?"),
                None => format!("  {key}"),
            }),
        }
    }
    if unknown.is_empty() {
        Ok(merged)
    } else {
        Err(ConfigError::UnknownKeys { path: path.to_owned(), keys: unknown.join("\n") })
    }
}

/// Where a text is not what it should be, and why; never the line itself, which may hold a secret.
pub(super) fn without_the_line(fault: &toml::de::Error, text: &str) -> String {
    // Of a value of a wrong kind the reason shows the value.
    let is_of_value = ["invalid type: ", "invalid value: "].iter().any(|start| fault.message().starts_with(start));
    let why = if is_of_value { "a value of another kind is expected" } else { fault.message() };
    let Some(before) = fault.span().and_then(|span| text.get(..span.start)) else { return why.to_owned() };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {why}")
}

/// Keys with dots. Settings have two levels, so tables below are values, which then do not fit.
fn flatten(table: Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (section, value) in table {
        match value {
            Value::Table(entries) => {
                flat.extend(entries.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
            }
            other => flat.push((section, other)),
        }
    }
    flat
}

/// A relative path in a file is meant relative to that file.
fn beside(file: &Path, value: Value) -> Value {
    match (value, file.parent()) {
        (Value::String(text), Some(folder)) => Value::String(folder.join(text).to_string_lossy().into_owned()),
        (value, _) => value,
    }
}

fn table_of<'a>(values: impl Iterator<Item = (&'a str, &'a Value)>) -> Table {
    let mut table = Table::new();
    for (key, value) in values {
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Some(section) = section.as_table_mut() {
            section.insert(name.to_owned(), value.clone());
        }
    }
    table
}

fn deserialize(merged: &Merged) -> Result<ValidatorConfig, ConfigError> {
    // One by one first: so a fault is known by its key and source.
    for (key, (value, source)) in merged {
        let alone = table_of(std::iter::once((*key, value)));
        if let Err(error) = alone.try_into::<ValidatorConfig>() {
            let is_secret = settings::find(key).is_some_and(|setting| setting.is_secret);
            // Why a value does not fit often shows it.
            let message = match is_secret {
                true => "the value does not fit: a text in quotes is expected".to_owned(),
                false => format!("{value}: {}", error.message()),
            };
            return Err(ConfigError::Value { key, from: source.clone(), message });
        }
    }
    let all = table_of(merged.iter().map(|(key, (value, _))| (*key, value)));
    all.try_into().map_err(|error: toml::de::Error| ConfigError::Faults(vec![error.message().to_owned()]))
}
