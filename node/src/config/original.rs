//! `config/validator.yaml` of the original DTVN: not read, but whoever brings one is told where each key has gone
//! (api.md section 8).

/// Keys of the original file, and what takes their place.
const GONE: &[(&str, &str)] = &[
    ("node.id", "node.id"),
    ("node.data_dir", "node.data_dir"),
    ("network.listen_port", "p2p.port"),
    ("network.bootstrap_mode", "node.bootstrap_node"),
    ("network.bootstrap_peers", "p2p.bootstrap"),
    ("api.address", "api.addr"),
    ("api.port", "api.port"),
    ("api.enable_cors", "nothing: CORS is off"),
    ("consensus.is_primary", "nothing: the protocol elects the leader"),
    ("consensus.total_nodes", "node.total_nodes, or the validators of the genesis file"),
    ("consensus.view_timeout", "consensus.view_timeout_ms of the genesis file"),
    ("consensus.checkpoint_interval", "consensus.checkpoint_interval of the genesis file"),
    ("gossip.fanout", "nothing: it follows from the number of validators"),
    ("gossip.ttl", "nothing: it follows from the number of validators"),
    ("gossip.cache_size", "nothing: it is a fixed limit"),
    ("gossip.anti_entropy_interval", "nothing: peers tell each other what they lack"),
    ("storage.type", "nothing: it is a consensus log and RocksDB"),
    ("storage.path", "node.data_dir"),
    ("storage.timeout", "nothing: a second process on the same directory is refused at once"),
    ("metrics.enabled", "nothing: metrics are always there, at /metrics of the admin endpoint"),
    ("metrics.address", "admin.addr"),
    ("metrics.port", "admin.addr"),
    ("logging.level", "log.level"),
    ("logging.format", "log.format"),
    ("logging.output", "nothing: logs go to stderr"),
];

/// Where each key of a file in the original's form has gone, one line each.
#[must_use]
pub fn explain(yaml: &str) -> String {
    let mut lines = Vec::new();
    for key in keys(yaml) {
        let place = GONE.iter().find(|(gone, _)| *gone == key).map_or("nothing: it is not known", |(_, place)| place);
        lines.push(format!("  {key:<34} -> {place}"));
    }
    lines.join("\n")
}

/// The dotted keys of the two levels that the original file had.
fn keys(yaml: &str) -> Vec<String> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in yaml.lines() {
        let content = line.split('#').next().unwrap_or_default();
        let Some((name, value)) = content.split_once(':') else { continue };
        let indented = name.starts_with([' ', '\t']);
        let name = name.trim();
        if name.is_empty() || name.starts_with('-') || name.contains(' ') {
            continue;
        }
        match (indented, value.trim().is_empty()) {
            (false, true) => section = name.to_owned(),
            (false, false) => keys.push(name.to_owned()),
            (true, _) => keys.push(format!("{section}.{name}")),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings;

    #[test]
    fn each_key_of_the_file_is_explained() {
        let yaml = "# Node\nnode:\n  id: \"validator-1\"\nnetwork:\n  listen_port: 4001\n  bootstrap_peers:\n    - \
                    \"/ip4/127.0.0.1/tcp/4000\"\nconsensus:\n  is_primary: false\n  colour: red\n";
        let text = explain(yaml);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[0].starts_with("node.id") && lines[0].ends_with("-> node.id"));
        assert!(lines[1].starts_with("network.listen_port") && lines[1].ends_with("-> p2p.port"));
        assert!(lines[2].ends_with("-> p2p.bootstrap"));
        assert!(lines[3].contains("the protocol elects the leader"));
        assert!(lines[4].contains("it is not known"));
    }

    #[test]
    fn the_places_exist() {
        for (gone, place) in GONE {
            let known =
                settings::find(place).is_some() || place.starts_with("nothing: ") || place.contains("genesis file");
            assert!(known, "{gone} -> {place}");
        }
    }
}
