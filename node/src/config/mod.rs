//! What a validator is told: one TOML file, the environment (`DTVN_...`), flags; flags win, unknown keys are errors,
//! and `dtvn config check` explains (architecture.md sections 7, 8 and 11).
//!
//! [`SETTINGS`] is the one table of all settings; [`ValidatorConfig`] is the same as types; [`Effective`] merges and
//! checks. [`Identity`] then reads or derives the key and the genesis.

mod effective;
pub mod identity;
pub mod keys;
mod original;
mod settings;
#[cfg(test)]
mod tests;
mod validator;

pub use effective::{ConfigError, Effective, EffectiveValue, Inputs, Source};
pub use identity::{Identity, IdentityError, KeySource};
pub use settings::{SETTINGS, Setting, SettingKind};
pub use validator::{
    AdminSettings, ApiSettings, DevelopmentSettings, LogFormat, LogSettings, NodeSettings, P2pSettings, Secret,
    TraceSettings, ValidatorConfig,
};
