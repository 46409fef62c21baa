//! The one table of a validator's settings: key in the file, flag, environment variable, kind, default, meaning.
//!
//! Flags of `dtvn validator`, the check of the file, `dtvn config check` and the README's table all come from it, and
//! a test compares it with [`super::ValidatorConfig`].

/// How the text of a flag or variable becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// As it stands.
    Text,
    /// As it stands; a relative one from a file is relative to that file.
    Path,
    /// A whole number.
    Number,
    /// `true` or `false`; the bare flag is `true`.
    Switch,
    /// Texts with commas between.
    List,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in the file, with dots.
    pub key: &'static str,
    /// Its flag, without dashes. Secrets have none of their own but `api-key`, which the original had.
    pub flag: Option<&'static str>,
    /// Its short environment variable. Each also has `DTVN__` and the key in capitals, with `__` for the dot.
    pub variable: Option<&'static str>,
    /// How text becomes a value.
    pub kind: SettingKind,
    /// Whether it must never be shown.
    pub is_secret: bool,
    /// What holds without it, in words.
    pub default: &'static str,
    /// What it is for.
    pub help: &'static str,
}

const fn setting(key: &'static str, kind: SettingKind, default: &'static str, help: &'static str) -> Setting {
    Setting { key, flag: None, variable: None, kind, is_secret: false, default, help }
}

impl Setting {
    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }
    const fn variable(self, variable: &'static str) -> Self {
        Self { variable: Some(variable), ..self }
    }
    const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }

    /// The environment variable that every setting has: `api.port` is `DTVN__API__PORT`.
    #[must_use]
    pub fn nested_variable(&self) -> String {
        format!("DTVN__{}", self.key.to_uppercase().replace('.', "__"))
    }
}

use SettingKind::{List, Number, Path, Switch, Text};

/// All settings, in the order of the documents.
pub const SETTINGS: &[Setting] = &[
    setting("node.id", Text, "node0", "This node's name among the validators").flag("id"),
    setting("node.data_dir", Path, "./data", "Where it keeps its log and database").flag("data-dir"),
    setting("node.total_nodes", Number, "4", "Validators of the development network; not with a genesis file")
        .flag("total-nodes"),
    setting("node.genesis", Path, "", "The genesis file; without it: the development network").flag("genesis"),
    setting(
        "node.initial_state",
        Path,
        "",
        "The state that the genesis continues from, if it does: for the first start",
    )
    .flag("initial-state"),
    setting("node.key", Path, "", "The key file; without it: a development key, derived from the name").flag("key"),
    setting("node.bootstrap_node", Switch, "false", "Run without a vote: follow the chain and serve reads")
        .flag("bootstrap-node"),
    setting("node.join", Switch, "false", "Its key is not in the genesis: follow until the validators vote it in")
        .flag("join"),
    setting(
        "node.min_free_disk_mib",
        Number,
        "256",
        "MiB that must be free on its disk; below it the node does not vote",
    )
    .flag("min-free-disk-mib"),
    setting("p2p.addr", Text, "127.0.0.1", "The address to listen on for peers").flag("p2p-addr"),
    setting("p2p.port", Number, "4001", "The port to listen on for peers (TCP and QUIC); 0 is any").flag("port"),
    setting("p2p.bootstrap", List, "", "Peers to connect to: multiaddresses, with /p2p/ or without, commas between")
        .flag("bootstrap"),
    setting("p2p.announce", List, "", "Multiaddresses to tell peers instead of those listened on, commas between")
        .flag("announce"),
    setting("api.addr", Text, "127.0.0.1", "The address of the HTTP API").flag("api-addr"),
    setting("api.port", Number, "8080", "The port of the HTTP API; 0 is any").flag("api-port"),
    setting("api.key", Text, "", "The key that all /api/ routes then ask for")
        .flag("api-key")
        .variable("DTVN_API_KEY")
        .secret(),
    setting(
        "api.ws_origins",
        List,
        "",
        "Further origins of pages that may open /ws or change anything, commas between",
    )
    .variable("DTVN_WS_ORIGINS"),
    setting("api.allow_open", Switch, "false", "Serve the API on other than loopback addresses without a key")
        .flag("allow-open-api"),
    setting("api.rate_per_address", Number, "20000", "Requests per second that one address may make; 0 is no limit"),
    setting("api.rate_per_key", Number, "0", "Requests per second that one key may make; 0 is no limit"),
    setting("admin.addr", Text, "127.0.0.1, the API's port + 1000", "Address and port of the admin endpoint")
        .flag("admin-addr"),
    setting("admin.key", Text, "", "The key that the admin endpoint then asks for").variable("DTVN_ADMIN_KEY").secret(),
    setting("log.format", Text, "pretty", "json or pretty").flag("log-format"),
    setting("log.level", Text, "info", "A level, or levels by target: info,dtvn_pbft=debug").flag("log-level"),
    setting("traces.endpoint", Text, "", "Where spans are exported to by OTLP (gRPC), e.g. http://127.0.0.1:4317")
        .flag("traces-endpoint"),
    setting("traces.one_in", Number, "1", "Of so many requests whose client has not decided, one is traced")
        .flag("traces-one-in"),
    setting("development.key_seed", Text, "a public constant", "What development keys are derived from")
        .variable("DTVN_KEY_SEED")
        .secret(),
    setting("development.auto_issue", Switch, "false", "Validating an unknown ticket issues it first")
        .variable("DTVN_AUTO_ISSUE"),
    setting("development.insecure_dev_keys", Switch, "false", "Listen on other than loopback with the public key seed")
        .flag("insecure-dev-keys"),
    setting("development.fault_injection", Switch, "false", "Let the admin endpoint crash actors")
        .flag("fault-injection"),
];

/// Variables that are no setting of a validator, but ours: other commands read them.
pub const OTHER_VARIABLES: &[&str] = &["DTVN_CONFIG", "DTVN_NODES", "DTVN_ADMIN", "DTVN_PEERS_API_KEY"];

/// The setting with this key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The key that looks most like `wrong`, if one does.
#[must_use]
pub fn nearest(wrong: &str) -> Option<&'static str> {
    let likeness = |key: &str| {
        // Somebody may know the word but not its section.
        let word = key.rsplit('.').next().unwrap_or(key);
        let wrong_word = wrong.rsplit('.').next().unwrap_or(wrong);
        strsim::jaro_winkler(key, wrong).max(strsim::jaro_winkler(word, wrong_word) - 0.05)
    };
    let best = SETTINGS.iter().map(|setting| (likeness(setting.key), setting.key)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_flags_and_variables_are_unique() {
        for (position, setting) in SETTINGS.iter().enumerate() {
            for other in &SETTINGS[position + 1..] {
                assert_ne!(setting.key, other.key);
                assert!(setting.flag.is_none() || setting.flag != other.flag, "{}", setting.key);
                assert!(setting.variable.is_none() || setting.variable != other.variable, "{}", setting.key);
            }
        }
    }

    #[test]
    fn the_nearest_key_is_found_and_nonsense_is_not() {
        assert_eq!(nearest("api.prot"), Some("api.port"));
        assert_eq!(nearest("data_dir"), Some("node.data_dir"));
        assert_eq!(nearest("node.bootstrap_nodes"), Some("node.bootstrap_node"));
        assert_eq!(nearest("zzz.qqq"), None);
    }
}
