use std::path::PathBuf;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn flags(pairs: &[(&str, &str)]) -> Vec<(&'static Setting, String)> {
    let find = |flag: &str| SETTINGS.iter().find(|setting| setting.flag == Some(flag)).unwrap();
    pairs.iter().map(|(flag, value)| (find(flag), (*value).to_owned())).collect()
}

fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn value<'a>(effective: &'a Effective, key: &str) -> &'a EffectiveValue {
    effective.values.iter().find(|value| value.setting.key == key).unwrap()
}

#[test]
fn without_anything_the_defaults_of_the_design_hold() {
    let effective = Effective::load(&Inputs::default()).unwrap();
    let config = &effective.config;
    assert_eq!(*config, ValidatorConfig::default());
    assert_eq!((config.p2p.port, config.api.port, config.admin_addr().port()), (4001, 8080, 9080));
    assert!(config.api.addr.is_loopback() && config.p2p.addr.is_loopback() && config.admin_addr().ip().is_loopback());
    assert!(effective.values.iter().all(|value| value.source == Source::Default));
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let (_folder, path) = file("dtvn.toml", "[api]\nport = 1\n[p2p]\nport = 1\n[node]\nid = \"from-file\"\n");
    let effective = Effective::load(&Inputs {
        file: Some(path.clone()),
        variables: variables(&[("DTVN__API__PORT", "2"), ("DTVN__P2P__PORT", "2")]),
        flags: flags(&[("api-port", "3")]),
    })
    .unwrap();
    assert_eq!(effective.config.api.port, 3);
    assert_eq!(effective.config.p2p.port, 2);
    assert_eq!(effective.config.node.id.as_str(), "from-file");
    assert_eq!(value(&effective, "api.port").source, Source::Flag("api-port"));
    assert_eq!(value(&effective, "p2p.port").source, Source::Variable("DTVN__P2P__PORT".into()));
    assert_eq!(value(&effective, "node.id").source, Source::File(path));
    assert_eq!(value(&effective, "api.addr").source, Source::Default);
}

#[test]
fn the_variables_of_the_original_are_known() {
    let given = [
        ("DTVN_API_KEY", "s3cret"),
        ("DTVN_KEY_SEED", "pepper"),
        ("DTVN_WS_ORIGINS", "https://a.example, https://b.example"),
        ("DTVN_AUTO_ISSUE", "true"),
    ];
    let effective = Effective::load(&Inputs { variables: variables(&given), ..Inputs::default() }).unwrap();
    let config = &effective.config;
    assert_eq!(config.api.key.as_ref().map(Secret::expose), Some("s3cret"));
    assert_eq!(config.key_seed(), "pepper");
    assert_eq!(config.api.ws_origins, ["https://a.example", "https://b.example"]);
    assert!(config.development.auto_issue);
    assert!(effective.warnings.is_empty());
    assert_eq!(value(&effective, "api.key").shown(), "(set)");
    assert!(!format!("{config:?}").contains("s3cret") && !format!("{config:?}").contains("pepper"));
}

#[test]
fn an_empty_variable_or_flag_is_as_if_not_given() {
    let inputs =
        Inputs { variables: variables(&[("DTVN_API_KEY", "")]), flags: flags(&[("api-key", "")]), ..Inputs::default() };
    assert_eq!(Effective::load(&inputs).unwrap().config.api.key, None);
}

#[test]
fn an_unknown_variable_warns_and_names_a_likely_one() {
    let given = [("DTVN_SERVICE_HOST", "10.0.0.1"), ("DTVN__API__PROT", "8081"), ("DTVN_NODES", "http://x")];
    let effective = Effective::load(&Inputs { variables: variables(&given), ..Inputs::default() }).unwrap();
    assert_eq!(effective.warnings.len(), 2, "{:?}", effective.warnings);
    assert!(effective.warnings[0].contains("DTVN_SERVICE_HOST"));
    assert!(effective.warnings[1].contains("is DTVN__API__PORT meant?"));
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    let (_folder, path) = file("dtvn.toml", "[api]\nprot = 8081\n[nodes]\nid = \"x\"\n");
    let error = Effective::load(&Inputs { file: Some(path), ..Inputs::default() }).unwrap_err().to_string();
    assert!(error.contains("api.prot: is api.port meant?"), "{error}");
    assert!(error.contains("nodes.id: is node.id meant?"), "{error}");
}

#[test]
fn a_malformed_line_is_told_by_its_place_and_never_shown() {
    for (line, column) in [
        ("key = s3cretpassphrase", 7),
        ("key = \"s3cretpassphrase", 24),
        ("key = \"s3cretpassphrase\" oops", 26),
        ("key \"s3cretpassphrase\"", 5),
        ("s3cretpassphrase = 1\ns3cretpassphrase = 2", 1),
        ("key = 's3cretpassphrase\nport = 1", 24),
        ("key = \"s3cretpassphrase\\q\"", 25),
        ("key = [\"s3cretpassphrase\"", 26),
        ("key = 12s3cretpassphrase", 9),
        ("key = 99999999999999999999999999", 7),
    ] {
        let (_folder, path) = file("dtvn.toml", &format!("[api]\nport = 8080\n{line}\n"));
        let error = Effective::load(&Inputs { file: Some(path), ..Inputs::default() }).unwrap_err();
        let (said, debugged) = (error.to_string(), format!("{error:?}"));
        assert!(said.contains(&format!("column {column}: ")), "{line}: {said}");
        assert!(said.contains("is not TOML: line 3, ") || said.contains("is not TOML: line 4, "), "{line}: {said}");
        for secret in ["s3cretpassphrase", "99999"] {
            assert!(!said.contains(secret) && !debugged.contains(secret), "{line}: {said}");
        }
    }
    for value in ["123456789", "[\"s3cret\"]", "true", "{ s3cret = 1 }"] {
        let (_folder, path) = file("dtvn.toml", &format!("[development]\nkey_seed = {value}\n"));
        let said = Effective::load(&Inputs { file: Some(path), ..Inputs::default() }).unwrap_err().to_string();
        assert!(said.starts_with("development.key_seed (file ") && said.ends_with("in quotes is expected"), "{said}");
        assert!(!said.contains("123456789") && !said.contains("s3cret") && !said.contains("true"), "{said}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_named_with_its_source() {
    let load = |variables, flags| Effective::load(&Inputs { file: None, variables, flags }).unwrap_err().to_string();
    let error = load(variables(&[("DTVN__API__PORT", "many")]), Vec::new());
    assert_eq!(error, "api.port (environment DTVN__API__PORT): \"many\" is not a whole number");
    let error = load(Vec::new(), flags(&[("api-port", "70000")]));
    assert!(error.starts_with("api.port (flag --api-port): ") && error.contains("70000"), "{error}");
    let error = load(Vec::new(), flags(&[("id", "Node 0")]));
    assert!(error.starts_with("node.id (flag --id): \"Node 0\": a node id may not contain"), "{error}");
    let error = load(Vec::new(), flags(&[("log-format", "xml")]));
    assert!(error.contains("xml") && error.contains("pretty"), "{error}");
}

#[test]
fn the_file_of_the_original_is_refused_with_directions() {
    let (_folder, path) = file("validator.yaml", "network:\n  listen_port: 4001\n");
    let error = Effective::load(&Inputs { file: Some(path), ..Inputs::default() }).unwrap_err().to_string();
    assert!(error.contains("network.listen_port") && error.contains("-> p2p.port"), "{error}");
}

#[test]
fn paths_in_a_file_are_relative_to_it() {
    let (folder, path) = file("dtvn.toml", "[node]\nkey = \"node.key\"\ngenesis = \"/etc/genesis.json\"\n");
    let config = Effective::load(&Inputs { file: Some(path), ..Inputs::default() }).unwrap().config;
    assert_eq!(config.node.key, Some(folder.path().join("node.key")));
    assert_eq!(config.node.genesis, Some(PathBuf::from("/etc/genesis.json")));
}

#[test]
fn open_doors_need_a_word() {
    let load = |given: &[(&str, &str)], variables| {
        Effective::load(&Inputs { file: None, variables, flags: flags(given) }).map_err(|error| error.to_string())
    };
    let error = load(&[("api-addr", "0.0.0.0")], Vec::new()).unwrap_err();
    assert!(error.contains("--allow-open-api") && error.contains("--insecure-dev-keys"), "{error}");
    let error = load(&[("api-addr", "0.0.0.0"), ("allow-open-api", "true")], Vec::new()).unwrap_err();
    assert!(!error.contains("--allow-open-api") && error.contains("DTVN_KEY_SEED"), "{error}");
    let error = load(&[("p2p-addr", "0.0.0.0")], Vec::new()).unwrap_err();
    assert!(error.contains("--insecure-dev-keys"), "{error}");
    load(&[("p2p-addr", "0.0.0.0"), ("insecure-dev-keys", "true")], Vec::new()).unwrap();
    load(&[("p2p-addr", "0.0.0.0")], variables(&[("DTVN_KEY_SEED", "secret")])).unwrap();
    let error = load(&[("admin-addr", "0.0.0.0:9080")], variables(&[("DTVN_KEY_SEED", "secret")])).unwrap_err();
    assert!(error.contains("DTVN_ADMIN_KEY"), "{error}");
}

#[test]
fn the_admin_endpoint_follows_the_port_of_the_api_as_far_as_there_are_ports() {
    let load = |given: &[(&str, &str)]| {
        let inputs = Inputs { flags: flags(given), ..Inputs::default() };
        let loaded = Effective::load(&inputs).map_err(|error| error.to_string());
        loaded.map(|effective| effective.config.admin_addr().port())
    };
    assert_eq!(load(&[("api-port", "64535")]), Ok(65_535));
    assert_eq!(load(&[("api-port", "0")]), Ok(0));
    let error = load(&[("api-port", "64536")]).unwrap_err();
    assert!(error.contains("set admin.addr"), "{error}");
    assert_eq!(load(&[("api-port", "65535"), ("admin-addr", "127.0.0.1:9080")]), Ok(9_080));
}

#[test]
fn a_bootstrap_address_names_a_place_and_perhaps_who_is_there() {
    let load = |address| {
        let inputs = Inputs { flags: flags(&[("bootstrap", address)]), ..Inputs::default() };
        Effective::load(&inputs).map(|effective| effective.config.p2p.bootstrap).map_err(|error| error.to_string())
    };
    let node0 = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C";
    for good in [node0, "/ip4/127.0.0.1/tcp/4001", "/dns/gate.example/udp/4001/quic-v1"] {
        assert_eq!(load(good).unwrap(), [good]);
    }
    assert!(load("localhost:4001").unwrap_err().contains("no multiaddress"));
    for nowhere in ["/ip4/127.0.0.1", "/dns/gate.example"] {
        assert!(load(nowhere).unwrap_err().contains("neither a port nor"), "{nowhere}");
    }
    assert!(load("/dns/ga te/tcp/4001").unwrap_err().contains("names a host"));
    let odd = format!("{node0}/tcp/4001");
    assert!(load(&odd).unwrap_err().contains("before its end"));
}

#[test]
fn a_key_without_a_genesis_is_refused() {
    let inputs = Inputs { flags: flags(&[("key", "node.key")]), ..Inputs::default() };
    assert!(Effective::load(&inputs).unwrap_err().to_string().contains("node.genesis"));
}

#[test]
fn the_table_of_settings_is_the_structure() {
    let sample = |setting: &Setting| match (setting.kind, setting.key) {
        (_, "p2p.addr" | "api.addr") => "127.0.0.1",
        (_, "admin.addr") => "127.0.0.1:9000",
        (_, "log.format") => "json",
        (_, "log.level") => "info",
        (_, "traces.endpoint") => "http://127.0.0.1:4317",
        (SettingKind::Number, _) => "7",
        (SettingKind::Switch, _) => "true",
        (SettingKind::List, "p2p.bootstrap" | "p2p.announce") => "",
        _ => "some",
    };
    let variables = SETTINGS.iter().map(|setting| (setting.nested_variable(), sample(setting).to_owned())).collect();
    let effective = Effective::load(&Inputs { variables, ..Inputs::default() }).unwrap();
    let shown = toml::Table::try_from(&effective.config).unwrap();
    let mut keys: Vec<String> = Vec::new();
    for (section, entries) in shown {
        keys.extend(entries.as_table().unwrap().keys().map(|key| format!("{section}.{key}")));
    }
    let mut table: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    keys.sort();
    table.sort_unstable();
    assert_eq!(keys, table, "a field without a setting, or a setting without a field");
}

#[test]
fn the_defaults_in_words_are_the_defaults() {
    let shown = toml::Table::try_from(ValidatorConfig::default()).unwrap();
    for setting in SETTINGS {
        let (section, key) = setting.key.split_once('.').unwrap();
        let real = shown.get(section).and_then(|section| section.get(key));
        let real = match real {
            None => continue,
            Some(toml::Value::String(text)) => text.clone(),
            Some(toml::Value::Array(_)) => String::new(),
            Some(other) => other.to_string(),
        };
        assert_eq!(setting.default, real, "{}", setting.key);
    }
}
