//! Trust policies (C2SP `tlog-policy`): which keys must have cosigned a checkpoint, for stock tools and for
//! `dtvn verify --policy`. They express equal powers only.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::PublicKey;
use crate::head::cosigner_name;
use crate::ids::ChainId;
use crate::limits;
use crate::note::{NoteError, decimal, read_verifier_key, verifier_key};
use crate::validators::ValidatorSet;

/// The policy of a validator set: any so many of them as are surely a quorum. None if the powers are not equal, because
/// no policy can say so; `dtvn verify --genesis` judges those.
#[must_use]
pub fn of_set(chain: &ChainId, set: &ValidatorSet) -> Option<String> {
    let power = set.iter().next().map(|(_, validator)| u64::from(validator.power))?;
    if set.iter().any(|(_, validator)| u64::from(validator.power) != power) {
        return None;
    }
    let mut text = format!("# The validators of {chain}: any quorum of them.\n");
    let mut names = String::new();
    for (_, validator) in set.iter() {
        let key = verifier_key(&cosigner_name(chain, &validator.name), &validator.public_key);
        text.push_str(&format!("witness {} {key}\n", validator.name));
        names.push(' ');
        names.push_str(validator.name.as_str());
    }
    let needed = set.quorum().div_ceil(power);
    Some(format!("{text}group {GROUP} {needed}{names}\nquorum {GROUP}\n"))
}

/// The group of all validators. No validator has this name: theirs have no underscore.
const GROUP: &str = "validators_quorum";

#[derive(Debug, Clone)]
enum Member {
    Witness { name: String, key: PublicKey },
    Group { needed: usize, members: Vec<String> },
}

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    members: BTreeMap<String, Member>,
    /// None asks for no cosignature at all.
    quorum: Option<String>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// If it has not the form, or is longer than [`limits::NOTE_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let limit = limits::NOTE_BYTES_MAX;
        if text.len() > limit {
            return Err(NoteError::TooLong { found: text.len(), limit });
        }
        let mut parser = Parser::default();
        for (number, line) in text.split('\n').enumerate() {
            let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
            parser.line(&items).map_err(|why| NoteError::Line { line: number + 1, why })?;
        }
        let quorum = parser.quorum.ok_or(NoteError::Form("a policy has one quorum line"))?;
        Ok(Self { members: parser.members, quorum: (quorum != "none").then_some(quorum) })
    }

    /// The witnesses: label in the policy, name of the key, and key.
    pub fn witnesses(&self) -> impl Iterator<Item = (&str, &str, &PublicKey)> {
        self.members.iter().filter_map(|(label, member)| match member {
            Member::Witness { name, key } => Some((label.as_str(), name.as_str(), key)),
            Member::Group { .. } => None,
        })
    }

    /// Whether the quorum is met when these witnesses, by label, have cosigned.
    #[must_use]
    pub fn is_met(&self, has_cosigned: impl Fn(&str) -> bool) -> bool {
        match &self.quorum {
            None => true,
            Some(label) => self.holds(label, &has_cosigned),
        }
    }

    /// Groups name only what stands before them, so this ends.
    fn holds(&self, label: &str, has_cosigned: &dyn Fn(&str) -> bool) -> bool {
        match self.members.get(label) {
            Some(Member::Witness { .. }) => has_cosigned(label),
            Some(Member::Group { needed, members }) => {
                members.iter().filter(|member| self.holds(member, has_cosigned)).count() >= *needed
            }
            None => false,
        }
    }
}

#[derive(Default)]
struct Parser {
    members: BTreeMap<String, Member>,
    keys: BTreeSet<PublicKey>,
    /// What is a member of a group already.
    taken: BTreeSet<String>,
    quorum: Option<String>,
}

impl Parser {
    fn line(&mut self, items: &[&str]) -> Result<(), &'static str> {
        match items {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            // Which log it is follows from the chain.
            ["log", _] | ["log", _, _] => Ok(()),
            ["witness", label, key] | ["witness", label, key, _] => self.witness(label, key),
            ["group", label, needed, members @ ..] => self.group(label, needed, members),
            ["quorum", label] => self.set_quorum(label),
            _ => Err("this is no line of a policy"),
        }
    }

    fn add(&mut self, label: &str, member: Member) -> Result<(), &'static str> {
        if label == "none" || self.members.insert(label.to_owned(), member).is_some() {
            return Err("this name is defined already");
        }
        Ok(())
    }

    fn witness(&mut self, label: &str, key: &str) -> Result<(), &'static str> {
        let (name, key) = read_verifier_key(key).ok_or("this is no key of a cosigner (type 4, Ed25519)")?;
        if !self.keys.insert(key) {
            return Err("this key is there twice");
        }
        self.add(label, Member::Witness { name: name.to_owned(), key })
    }

    fn group(&mut self, label: &str, needed: &str, members: &[&str]) -> Result<(), &'static str> {
        if members.iter().any(|member| !self.members.contains_key(*member)) {
            return Err("a group names only what is defined before it");
        }
        if !members.iter().all(|member| self.taken.insert((*member).to_owned())) {
            return Err("a name is a member of one group only, once");
        }
        let needed = match needed {
            "any" => Some(1),
            "all" => Some(members.len()),
            number => decimal(number).and_then(|number| usize::try_from(number).ok()),
        };
        let needed = needed.filter(|needed| (1..=members.len()).contains(needed));
        let needed = needed.ok_or("a group needs at least 1 and at most all of its members")?;
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.add(label, Member::Group { needed, members })
    }

    fn set_quorum(&mut self, label: &str) -> Result<(), &'static str> {
        if label != "none" && !self.members.contains_key(label) {
            return Err("the quorum names what is not defined before it");
        }
        if self.quorum.replace(label.to_owned()).is_some() {
            return Err("there is a second quorum line");
        }
        Ok(())
    }
}
