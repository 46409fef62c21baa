//! The edge: clients' operations into bundles, and answers back.

use dtvn_messages::{Bundle, Statement};

use super::{Effect, Failure, Mail, Node, Timed, Timer};
use crate::log::Disk;
use crate::{intake, pool};

impl<D: Disk> Node<D> {
    /// As the intake's actor: what a cut leads to comes before any other mail.
    pub(super) fn step_intake(&mut self, input: intake::Input, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut said = Vec::new();
            self.intake.step(self.now, input, &mut said);
            for effect in said {
                match effect {
                    intake::Effect::Cut(body) => {
                        let chain = &self.config.chain;
                        let signature = self.settings.signer.sign(&body.signed_bytes(chain));
                        let bundle = Bundle::assemble(body, signature, chain);
                        self.mail.push_back(Mail::Gossip(pool::Input::Own(bundle.clone())));
                        inputs.push(intake::Input::Signed(bundle));
                    }
                    intake::Effect::Offer(bundle) => self.tell_gossip(pool::Input::Own(bundle)),
                    intake::Effect::Answer { request, index, answer } => {
                        effects.push(Effect::Answer { request, index, answer });
                    }
                    // A later number is needed: the intake fails, and starts again with one.
                    intake::Effect::Outrun { .. } => return self.restart_intake(effects),
                    intake::Effect::SetTimer { generation, after_ms } => {
                        let timer = Timer { of: Timed::Intake, incarnation: self.incarnations.intake, generation };
                        effects.push(Effect::SetTimer { timer, after_us: after_ms * 1_000 });
                    }
                }
            }
        }
        Ok(())
    }
}
