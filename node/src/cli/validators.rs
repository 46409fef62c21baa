//! `dtvn validators`: who is a validator, and how that changes. A change is a file that goes round: proposed by one,
//! signed by a quorum on their own machines (no key leaves its machine), submitted by anybody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use dtvn_client::api::{Epochs, Member, ProposedChange, Validators};
use dtvn_client::{Client, ClientError};
use dtvn_messages::{Epoch, IdempotencyKey, KeyPair, NodeName, PublicKey, Validator, ValidatorSet};

use super::exit::Exit;
use super::nodes::NodesArguments;
use super::output::{Output, table};
use crate::cluster::development_key;
use crate::config::keys::{KeyFile, peer_id};

#[derive(Debug, Args)]
pub(super) struct ValidatorsArguments {
    #[command(flatten)]
    nodes: NodesArguments,
    #[command(subcommand)]
    command: ValidatorsCommand,
}

#[derive(Debug, Subcommand)]
enum ValidatorsCommand {
    /// Show the validators of the present epoch
    List,
    /// Show who was a validator when; with --json the proof of it, for `dtvn verify --epochs`
    Epochs,
    /// Write a change of the present set to a file, for the validators to sign
    Propose(ProposeArguments),
    /// Add a validator's signature to a change, after showing what it changes
    Sign(SignArguments),
    /// Hand in a change that a quorum signed; signatures of several files are put together
    Submit {
        /// The files of the change
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// What makes it happen once; made up if not given
        #[arg(long)]
        idempotency_key: Option<IdempotencyKey>,
    },
}

#[derive(Debug, Args)]
struct ProposeArguments {
    /// A new validator, at the end of the set
    #[arg(long, value_name = "NAME=KEY", value_parser = named_key)]
    add: Vec<(NodeName, PublicKey)>,
    /// A validator that leaves
    #[arg(long, value_name = "NAME")]
    remove: Vec<NodeName>,
    /// A validator that goes on with another key
    #[arg(long, value_name = "NAME=KEY", value_parser = named_key)]
    rekey: Vec<(NodeName, PublicKey)>,
    /// The voting power of a validator
    #[arg(long, value_name = "NAME=POWER", value_parser = named_power)]
    power: Vec<(NodeName, u32)>,
    /// The file; it must not exist
    #[arg(long, value_name = "FILE", default_value = "validators-change.json")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct SignArguments {
    /// The file of the change
    file: PathBuf,
    /// The key file of a present validator
    #[arg(long, value_name = "FILE", required_unless_present = "development")]
    key: Option<PathBuf>,
    /// The development key of this node instead; DTVN_KEY_SEED counts
    #[arg(long, value_name = "ID", conflicts_with = "key")]
    development: Option<NodeName>,
    /// Who the present validators are, as `dtvn validators epochs --json` told elsewhere: for a machine that reaches
    /// no node
    #[arg(long, value_name = "FILE")]
    epochs: Option<PathBuf>,
    /// Sign without asking at the terminal
    #[arg(long)]
    yes: bool,
}

fn named<'a>(text: &'a str, what: &str) -> Result<(NodeName, &'a str), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME={what}"))?;
    Ok((NodeName::new(name).map_err(|fault| fault.to_string())?, value))
}

fn named_key(text: &str) -> Result<(NodeName, PublicKey), String> {
    let (name, key) = named(text, "KEY")?;
    let key = PublicKey::from_hex(key).map_err(|fault| format!("the key of {name}: {fault}"))?;
    Ok((name, key))
}

fn named_power(text: &str) -> Result<(NodeName, u32), String> {
    let (name, power) = named(text, "POWER")?;
    let power = power.parse().map_err(|fault| format!("the power of {name}: {fault}"))?;
    Ok((name, power))
}

pub(super) async fn run(arguments: ValidatorsArguments, output: Output) -> anyhow::Result<Exit> {
    let client = arguments.nodes.client()?;
    match arguments.command {
        ValidatorsCommand::List => output.result(&client.validators().await?, list),
        ValidatorsCommand::Epochs => output.result(&client.epochs().await?, epochs),
        ValidatorsCommand::Propose(wanted) => {
            let present = client.validators().await?;
            let chain_id = client.genesis().await?.chain_id;
            let set = present.set().context("what the node tells is no validator set")?;
            let change = ProposedChange {
                chain_id,
                epoch: Epoch(present.epoch),
                replaces: set.hash(),
                validators: changed(&set, &wanted)?,
                signatures: BTreeMap::new(),
                idempotency_key: None,
            };
            let new = change.set().map_err(|fault| usage(format!("the new set is refused: {fault}")))?;
            write(&wanted.out, &change, true)?;
            output.result(&change, |change| differences(change, &set, &new));
            let (file, quorum) = (wanted.out.display(), set.quorum());
            output.note(format!(
                "written to {file}: validators of power {quorum} sign it with `dtvn validators sign {file} --key ...`"
            ));
        }
        ValidatorsCommand::Sign(wanted) => return sign(&wanted, &client, output).await,
        ValidatorsCommand::Submit { files, idempotency_key } => {
            let (epoch, set) = present_set(&client.validators().await?)?;
            let mut changes = Vec::new();
            for file in &files {
                let mut change = read(file)?;
                // A change of another epoch is for the node to refuse.
                if check_replaces(epoch, &set, &change).is_ok() {
                    note_forged(file, change.drop_forged(&set)?, output);
                }
                changes.push(change);
            }
            let mut changes = changes.into_iter();
            let Some(mut change) = changes.next() else { return Err(usage("no file is given".to_owned())) };
            for other in changes {
                change.merge(other).map_err(|fault| usage(fault.to_string()))?;
            }
            change.idempotency_key = idempotency_key.or(change.idempotency_key);
            let done = client.change_validators(change).await?;
            output.result(&done, |done| {
                let (height, ends) = (done.height, done.epoch_ends);
                format!("agreed at height {height}: the new set decides on everything above height {ends}")
            });
        }
    }
    Ok(Exit::Good)
}

async fn sign(wanted: &SignArguments, client: &Client, output: Output) -> anyhow::Result<Exit> {
    let mut change = read(&wanted.file)?;
    let (epoch, set) = match &wanted.epochs {
        Some(file) => last_of(file, &change)?,
        None => {
            let found = client.genesis().await?.chain_id;
            if found != change.chain_id {
                let chain = &change.chain_id;
                return Err(usage(format!("the nodes are of the chain {found}, the change is of {chain}")));
            }
            present_set(&client.validators().await?)?
        }
    };
    check_replaces(epoch, &set, &change)?;
    note_forged(&wanted.file, change.drop_forged(&set)?, output);
    let pair = match (&wanted.key, &wanted.development) {
        (Some(file), _) => KeyFile::load(file)?.pair,
        (None, Some(name)) => development_key(name.as_str()),
        (None, None) => return Err(usage("whose key? Give --key FILE".to_owned())),
    };
    let agreed = |shown: &str| -> anyhow::Result<bool> {
        // In JSON the change follows when it is signed.
        match output.is_json() {
            true => output.note(shown),
            false => output.line(shown),
        }
        Ok(wanted.yes || output.confirm("Sign this?")?)
    };
    let Some(signer) = sign_shown(&wanted.file, &mut change, &pair, &set, agreed)? else {
        output.note("not signed");
        return Ok(Exit::Refused);
    };
    if output.is_json() {
        output.result(&change, |_| String::new());
    }
    let signed = change.signatures.keys().filter_map(|name| set.index_of_name(name.as_str()));
    output.note(format!("signed by {signer}: power {} of {}", set.power_of(signed), set.quorum()));
    Ok(Exit::Good)
}

/// Shows what a change changes; and only if `agreed` then says so, signs it and writes that down. Gives who signed.
fn sign_shown(
    path: &Path,
    change: &mut ProposedChange,
    pair: &KeyPair,
    set: &ValidatorSet,
    agreed: impl FnOnce(&str) -> anyhow::Result<bool>,
) -> anyhow::Result<Option<NodeName>> {
    let new = change.set().map_err(|fault| usage(fault.to_string()))?;
    if !agreed(&differences(change, set, &new))? {
        return Ok(None);
    }
    let signer = change.sign(pair, set).map_err(|fault| usage(fault.to_string()))?;
    write(path, change, false)?;
    Ok(Some(signer))
}

fn usage(fault: String) -> anyhow::Error {
    ClientError::Usage(fault).into()
}

/// The epoch that a node is in, and its set.
fn present_set(present: &Validators) -> anyhow::Result<(Epoch, ValidatorSet)> {
    Ok((Epoch(present.epoch), present.set().context("what the node tells is no validator set")?))
}

/// The last epoch in a file of epochs, and its set.
fn last_of(path: &Path, change: &ProposedChange) -> anyhow::Result<(Epoch, ValidatorSet)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let no_epochs = |fault: String| usage(format!("{} holds no epochs: {fault}", path.display()));
    let all: Epochs = serde_json::from_str(&text).map_err(|fault| no_epochs(fault.to_string()))?;
    if all.chain_id != change.chain_id {
        let (found, chain) = (all.chain_id, &change.chain_id);
        return Err(usage(format!("{} is of the chain {found}, the change is of {chain}", path.display())));
    }
    let last = all.epochs.last().ok_or_else(|| no_epochs("the list is empty".to_owned()))?;
    let validator = |it: &Member| Validator { name: it.name.clone(), public_key: it.public_key, power: it.power };
    let set = ValidatorSet::new(last.validators.iter().map(validator).collect());
    Ok((Epoch(last.epoch), set.map_err(|fault| no_epochs(fault.to_string()))?))
}

/// Sees to it that a change replaces the set that is in force.
fn check_replaces(epoch: Epoch, set: &ValidatorSet, change: &ProposedChange) -> anyhow::Result<()> {
    if (epoch, set.hash()) != (change.epoch, change.replaces) {
        let of = change.epoch;
        return Err(usage(format!(
            "the change is of epoch {of} and its set; in force is epoch {epoch} with another one: propose it anew"
        )));
    }
    Ok(())
}

/// Says whose signatures in a file are none.
fn note_forged(file: &Path, forged: Vec<NodeName>, output: Output) {
    for name in forged {
        let file = file.display();
        output.note(format!("WARNING: the signature of {name} in {file} is not of this change, and is left out"));
    }
}

/// The present set with what is asked for; who stays keeps its place.
fn changed(set: &ValidatorSet, wanted: &ProposeArguments) -> anyhow::Result<Vec<Member>> {
    let mut validators: Vec<Member> = (set.iter())
        .map(|(_, it)| Member { name: it.name.clone(), public_key: it.public_key, power: it.power })
        .collect();
    let unknown = |name: &NodeName| usage(format!("{name} is no validator"));
    for name in &wanted.remove {
        let before = validators.len();
        validators.retain(|it| it.name != *name);
        if validators.len() == before {
            return Err(unknown(name));
        }
    }
    for (name, public_key) in &wanted.rekey {
        validators.iter_mut().find(|it| it.name == *name).ok_or_else(|| unknown(name))?.public_key = *public_key;
    }
    validators.extend(wanted.add.iter().map(|(name, key)| Member { name: name.clone(), public_key: *key, power: 1 }));
    for (name, power) in &wanted.power {
        validators.iter_mut().find(|it| it.name == *name).ok_or_else(|| unknown(name))?.power = *power;
    }
    let is_same = validators.len() == set.len()
        && set
            .iter()
            .zip(&validators)
            .all(|((_, old), new)| (&old.name, old.public_key, old.power) == (&new.name, new.public_key, new.power));
    if is_same {
        return Err(usage("nothing would change: give --add, --remove, --rekey or --power".to_owned()));
    }
    Ok(validators)
}

fn list(present: &Validators) -> String {
    let rows = present.validators.iter().map(|it| {
        let leads = if it.is_primary { "leads" } else { "" };
        [it.node_id.to_string(), it.power.to_string(), it.public_key.to_string(), it.peer_id.clone(), leads.to_owned()]
    });
    format!(
        "epoch {}, view {}, a quorum is {} of {}\n{}",
        present.epoch,
        present.view,
        present.quorum,
        present.total_power,
        table(["validator", "power", "public key", "peer id", ""], rows)
    )
}

fn epochs(all: &Epochs) -> String {
    let rows = all.epochs.iter().map(|it| {
        let ended = it.ended_at.map_or_else(|| "lasts".to_owned(), |height| height.to_string());
        let names = it.validators.iter().map(|validator| match validator.power {
            1 => validator.name.to_string(),
            power => format!("{} ({power})", validator.name),
        });
        let quorum = format!("{} of {}", it.quorum, it.total_power);
        [it.epoch.to_string(), it.base.to_string(), ended, quorum, names.collect::<Vec<_>>().join(", ")]
    });
    table(["epoch", "above", "up to", "quorum", "validators (power, if not 1)"], rows)
}

/// What a change changes, in words.
fn differences(change: &ProposedChange, old: &ValidatorSet, new: &ValidatorSet) -> String {
    let mut lines = vec![format!("chain {}, from epoch {} to {}:", change.chain_id, change.epoch, change.epoch.next())];
    for (_, before) in old.iter() {
        let after = new.index_of_name(before.name.as_str()).and_then(|index| new.get(index));
        match after {
            None => lines.push(format!("- {}, power {}, leaves", before.name, before.power)),
            Some(after) => {
                if after.public_key != before.public_key {
                    let (name, key) = (&after.name, after.public_key);
                    lines.push(format!("~ {name} goes on with the key {key} (peer id {})", peer_id(&key)));
                }
                if after.power != before.power {
                    lines.push(format!("~ {} has power {} instead of {}", after.name, after.power, before.power));
                }
            }
        }
    }
    for (_, after) in new.iter().filter(|(_, it)| old.index_of_name(it.name.as_str()).is_none()) {
        let (name, power, key) = (&after.name, after.power, after.public_key);
        lines.push(format!("+ {name}, power {power}, key {key} (peer id {})", peer_id(&key)));
    }
    // Who leads in which view follows from the places.
    let names = |set: &ValidatorSet, other: &ValidatorSet| {
        let stays = |name: &NodeName| other.index_of_name(name.as_str()).is_some();
        set.iter().map(|(_, it)| it.name.clone()).filter(stays).collect::<Vec<_>>()
    };
    if names(old, new) != names(new, old) {
        let order: Vec<_> = new.iter().map(|(_, it)| it.name.as_str()).collect();
        lines.push(format!("~ the order, in which they lead, is then {}", order.join(", ")));
    }
    if old == new {
        lines.push("= the validators stay as they are".to_owned());
    }
    lines.push(format!("a quorum is then {} of {}", new.quorum(), new.total_power()));
    lines.join("\n")
}

fn read(path: &Path) -> anyhow::Result<ProposedChange> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text)
        .map_err(|fault| usage(format!("{} is no change of a validator set: {fault}", path.display())))
}

/// Writes a change whole or not at all.
fn write(path: &Path, change: &ProposedChange, is_new: bool) -> anyhow::Result<()> {
    use std::io::Write as _;
    if is_new && path.exists() {
        return Err(usage(format!("{} exists: it is not overwritten", path.display())));
    }
    let cannot = || format!("cannot write {}", path.display());
    let beside = path.with_added_extension("new");
    let mut file = std::fs::File::create(&beside).with_context(cannot)?;
    let text = serde_json::to_string_pretty(change)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(cannot)
}

#[cfg(test)]
mod tests {
    use dtvn_messages::Genesis;
    use dtvn_messages::crypto::DEVELOPMENT_SEED;

    use super::*;

    fn wanted() -> ProposeArguments {
        let out = PathBuf::from("unused");
        ProposeArguments { add: Vec::new(), remove: Vec::new(), rekey: Vec::new(), power: Vec::new(), out }
    }

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    #[test]
    fn who_stays_keeps_its_place_and_who_comes_stands_at_the_end() {
        let genesis = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
        let set = genesis.validators();
        let key = |name| KeyPair::development("other", name).public();
        let wanted = ProposeArguments {
            add: vec![(name("gate"), key("gate"))],
            remove: vec![name("node1")],
            rekey: vec![(name("node2"), key("node2"))],
            power: vec![(name("gate"), 2)],
            ..wanted()
        };
        let validators = changed(set, &wanted).unwrap();
        let names: Vec<_> = validators.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["node0", "node2", "node3", "gate"]);
        assert_eq!((validators[1].public_key, validators[3].power), (key("node2"), 2));
    }

    #[test]
    fn what_changes_nothing_or_nobody_is_refused() {
        let genesis = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
        let set = genesis.validators();
        assert!(changed(set, &wanted()).unwrap_err().to_string().contains("nothing would change"));
        let stranger = ProposeArguments { remove: vec![name("node9")], ..wanted() };
        assert_eq!(changed(set, &stranger).unwrap_err().to_string(), "node9 is no validator");
    }

    /// A change of the set of a new chain.
    fn change_to(genesis: &Genesis, validators: Vec<Member>) -> ProposedChange {
        ProposedChange {
            chain_id: genesis.chain_id().clone(),
            epoch: Epoch(0),
            replaces: genesis.validators().hash(),
            validators,
            signatures: BTreeMap::new(),
            idempotency_key: None,
        }
    }

    #[test]
    fn a_change_is_written_once_and_signed_in_place_by_who_agrees_to_what_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("change.json");
        let genesis = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
        let set = genesis.validators();
        let validators = changed(set, &ProposeArguments { remove: vec![name("node3")], ..wanted() }).unwrap();
        let mut change = change_to(&genesis, validators);
        let unsigned = change.clone();
        write(&path, &change, true).unwrap();
        assert!(write(&path, &change, true).is_err());
        let mut sign = |agrees| {
            let mut seen = String::new();
            let agreed = |shown: &str| -> anyhow::Result<bool> {
                assert_eq!(read(&path).unwrap(), unsigned, "it is shown before it is signed");
                seen = shown.to_owned();
                Ok(agrees)
            };
            let signer = sign_shown(&path, &mut change, &development_key("node0"), set, agreed).unwrap();
            (signer, seen)
        };
        let (signer, shown) = sign(false);
        assert_eq!((signer, read(&path).unwrap()), (None, unsigned.clone()));
        assert!(shown.contains("- node3, power 1, leaves") && shown.contains("a quorum is then 3 of 3"), "{shown}");
        assert_eq!(sign(true), (Some(name("node0")), shown));
        assert!(change.signatures.contains_key(&name("node0")));
        assert_eq!(read(&path).unwrap(), change);
    }

    #[test]
    fn a_change_of_the_order_alone_is_shown() {
        let genesis = Genesis::development(3, DEVELOPMENT_SEED, false).unwrap();
        let set = genesis.validators();
        let members: Vec<Member> = set.iter().map(|(_, validator)| Member::from(validator)).collect();
        let shown = |validators: Vec<Member>| {
            let change = change_to(&genesis, validators);
            differences(&change, set, &change.set().unwrap())
        };
        let swapped = vec![members[1].clone(), members[0].clone(), members[2].clone()];
        assert!(shown(swapped).contains("~ the order, in which they lead, is then node1, node0, node2"));
        assert!(!shown(members[1..].to_vec()).contains("the order"), "who stays keeps its place among those who stay");
        assert!(shown(members).contains("= the validators stay as they are"));
    }
}
