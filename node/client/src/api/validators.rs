//! Who was a validator when, and a change of that (api.md section 3, consensus.md section 10): the file that the validators hand round to
//! sign, and the body of `POST /api/v1/validators`.

use std::collections::BTreeMap;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::membership::{NewSet, ValidatorsChange};
use dtvn_messages::validators::ValidatorSetError;
use dtvn_messages::{
    ChainId, Digest, Ed25519, Epoch, Height, IdempotencyKey, KeyPair, NodeName, PublicKey, Scheme as _, Signature,
    Statement as _, Validator, ValidatorSet,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{AcceptedWord, Time, Validators};

/// A validator of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: NodeName,
    /// Its public key, in hexadecimal.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub public_key: PublicKey,
    /// Its voting power, above 0.
    pub power: u32,
}

impl From<&Validator> for Member {
    fn from(validator: &Validator) -> Self {
        Self { name: validator.name.clone(), public_key: validator.public_key, power: validator.power }
    }
}

/// Another validator set for the next epoch, with the signatures of present validators that want it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProposedChange {
    /// The chain.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub chain_id: ChainId,
    /// The epoch that the change ends.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// The hash of the set of that epoch, in hexadecimal.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub replaces: Digest,
    /// The whole set of the next epoch, in its order.
    pub validators: Vec<Member>,
    /// Signatures (64 bytes in hexadecimal) by the names of their validators: of power `Q` of the set that is replaced.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub signatures: BTreeMap<NodeName, Signature>,
    /// What makes it happen once. The header `Idempotency-Key` does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Why a proposed change is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// The new validators make no set.
    #[error("the new set is refused: {0}")]
    Set(#[from] ValidatorSetError),
    /// Somebody signed who has no vote on it.
    #[error("{0} is no validator of the set that is replaced")]
    Stranger(NodeName),
    /// The key of a signer is no validator's.
    #[error("the public key {0} is of no validator of the set that is replaced")]
    StrangeKey(PublicKey),
    /// Two files are not about the same change.
    #[error("they are not the same change: chain, epoch, replaced set and new set must be equal")]
    Different,
}

impl Validators {
    /// The set that a node tells of.
    ///
    /// # Errors
    /// If what it tells makes no set.
    pub fn set(&self) -> Result<ValidatorSet, ValidatorSetError> {
        let validator = |it: &super::ValidatorInfo| Validator {
            name: it.node_id.clone(),
            public_key: it.public_key,
            power: it.power,
        };
        ValidatorSet::new(self.validators.iter().map(validator).collect())
    }
}

impl ProposedChange {
    /// The new set.
    ///
    /// # Errors
    /// If the validators make no set.
    pub fn set(&self) -> Result<ValidatorSet, ValidatorSetError> {
        let validator = |it: &Member| Validator { name: it.name.clone(), public_key: it.public_key, power: it.power };
        ValidatorSet::new(self.validators.iter().map(validator).collect())
    }

    /// What its signers sign.
    ///
    /// # Errors
    /// If the validators make no set.
    pub fn statement(&self) -> Result<NewSet, ValidatorSetError> {
        Ok(NewSet { epoch: self.epoch, replaces: self.replaces, set: self.set()?.hash() })
    }

    /// Adds the signature of the validator of `present` that has this key, and returns its name.
    ///
    /// # Errors
    /// If the new validators make no set, or the key is of nobody in the present one.
    pub fn sign(&mut self, key: &KeyPair, present: &ValidatorSet) -> Result<NodeName, ChangeError> {
        let stranger = ChangeError::StrangeKey(key.public());
        let signer = present.index_of_key(&key.public()).and_then(|index| present.get(index)).ok_or(stranger)?;
        let signature = key.sign(&self.statement()?.signed_bytes(&self.chain_id));
        self.signatures.insert(signer.name.clone(), signature);
        Ok(signer.name.clone())
    }

    /// Drops the signatures that are not of this change by a validator of `present`, and returns whose they were said to be:
    /// a file that went round may have been altered.
    ///
    /// # Errors
    /// If the new validators make no set.
    pub fn drop_forged(&mut self, present: &ValidatorSet) -> Result<Vec<NodeName>, ValidatorSetError> {
        let bytes = self.statement()?.signed_bytes(&self.chain_id);
        let is_good = |name: &NodeName, signature: &Signature| {
            let key = present.index_of_name(name.as_str()).and_then(|index| present.key(index));
            key.is_some_and(|key| Ed25519.verify(&key, &bytes, signature))
        };
        let (good, forged) = std::mem::take(&mut self.signatures).into_iter().partition(|(name, it)| is_good(name, it));
        self.signatures = good;
        let forged: BTreeMap<NodeName, Signature> = forged;
        Ok(forged.into_keys().collect())
    }

    /// Takes over the signatures of another file about the same change.
    ///
    /// # Errors
    /// If it is about another one.
    pub fn merge(&mut self, other: Self) -> Result<(), ChangeError> {
        let is_same = (&self.chain_id, self.epoch, self.replaces, &self.validators)
            == (&other.chain_id, other.epoch, other.replaces, &other.validators);
        if !is_same {
            return Err(ChangeError::Different);
        }
        self.signatures.extend(other.signatures);
        Ok(())
    }

    /// The change as the chain takes it, its signers counted in the set that it replaces.
    ///
    /// # Errors
    /// If the new validators make no set, or a signer is none of the present validators.
    pub fn to_change(&self, present: &ValidatorSet) -> Result<ValidatorsChange, ChangeError> {
        let mut signatures = Vec::with_capacity(self.signatures.len());
        for (name, signature) in &self.signatures {
            let index = present.index_of_name(name.as_str()).ok_or_else(|| ChangeError::Stranger(name.clone()))?;
            signatures.push((index, *signature));
        }
        signatures.sort_by_key(|(index, _)| *index);
        let signatures = Signatures(signatures);
        Ok(ValidatorsChange { epoch: self.epoch, replaces: self.replaces, set: self.set()?, signatures })
    }
}

/// The answer to a change of the set that was agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Changed {
    /// `accepted`.
    pub status: AcceptedWord,
    /// The height of the block that decided.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// The last height of the present epoch: the new set decides on everything above.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch_ends: Height,
    /// The index of the outcome in the transparency log.
    pub index: u64,
    /// Agreed time of the block.
    pub agreed_time: Time,
    /// The key under which it happened once.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub idempotency_key: IdempotencyKey,
}

#[cfg(test)]
mod tests {
    use dtvn_messages::Genesis;

    use super::*;

    fn key(name: &str) -> KeyPair {
        KeyPair::development(dtvn_messages::crypto::DEVELOPMENT_SEED, name)
    }

    fn proposed(present: &ValidatorSet) -> ProposedChange {
        let validators = present.iter().take(3).map(|(_, it)| Member {
            name: it.name.clone(),
            public_key: it.public_key,
            power: it.power,
        });
        ProposedChange {
            chain_id: ChainId::new("test").unwrap(),
            epoch: Epoch(0),
            replaces: present.hash(),
            validators: validators.collect(),
            signatures: BTreeMap::new(),
            idempotency_key: None,
        }
    }

    #[test]
    fn signatures_of_several_files_make_a_change_that_verifies() {
        let genesis = Genesis::development(4, dtvn_messages::crypto::DEVELOPMENT_SEED, false).unwrap();
        let present = genesis.validators();
        let mut all = proposed(present);
        for name in ["node3", "node0", "node1"] {
            let too_few = all.to_change(present).unwrap();
            assert!(too_few.verify(&all.chain_id, present, &Ed25519).is_err());
            let mut one = proposed(present);
            assert_eq!(one.sign(&key(name), present).unwrap().as_str(), name);
            let text = serde_json::to_string(&one).unwrap();
            all.merge(serde_json::from_str(&text).unwrap()).unwrap();
        }
        all.to_change(present).unwrap().verify(&all.chain_id, present, &Ed25519).unwrap();
        let other = ChainId::new("other").unwrap();
        assert!(all.to_change(present).unwrap().verify(&other, present, &Ed25519).is_err());
    }

    #[test]
    fn signatures_that_are_not_of_this_change_are_dropped() {
        let genesis = Genesis::development(4, dtvn_messages::crypto::DEVELOPMENT_SEED, false).unwrap();
        let present = genesis.validators();
        let mut change = proposed(present);
        for name in ["node0", "node1"] {
            change.sign(&key(name), present).unwrap();
        }
        assert_eq!(change.drop_forged(present).unwrap(), []);
        let before = change.clone();
        let [node2, node7] = ["node2", "node7"].map(|name| NodeName::new(name).unwrap());
        change.signatures.insert(node2.clone(), change.signatures[&NodeName::new("node0").unwrap()]);
        change.signatures.insert(node7.clone(), key("node7").sign(b"nothing"));
        assert_eq!(change.drop_forged(present).unwrap(), [node2, node7]);
        assert_eq!(change, before);
        // What was signed is the whole set: with other powers nobody has signed it.
        change.validators[0].power = 5;
        assert_eq!(change.drop_forged(present).unwrap().len(), 2);
        assert!(change.signatures.is_empty());
    }

    #[test]
    fn strangers_and_other_changes_are_refused() {
        let genesis = Genesis::development(4, dtvn_messages::crypto::DEVELOPMENT_SEED, false).unwrap();
        let present = genesis.validators();
        let mut change = proposed(present);
        assert_eq!(change.sign(&key("node7"), present), Err(ChangeError::StrangeKey(key("node7").public())));
        let mut other = proposed(present);
        other.validators.pop();
        assert_eq!(change.merge(other), Err(ChangeError::Different));
        let stranger = NodeName::new("node7").unwrap();
        change.signatures.insert(stranger.clone(), key("node7").sign(b"nothing"));
        assert_eq!(change.to_change(present).unwrap_err(), ChangeError::Stranger(stranger));
        change.signatures.clear();
        change.validators.clear();
        assert_eq!(change.to_change(present).unwrap_err(), ChangeError::Set(ValidatorSetError::Empty));
    }
}
