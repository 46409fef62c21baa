//! Live events (api.md section 3, "Live"): every node tells every committed event to all who listen at it.
//!
//! The state machine tells the hub of each committed block; the hub encodes its events once and puts them into the
//! bounded queue of each listener; a listener that does not keep up is cut off, and may resume where it was. The log of
//! outcomes in the store holds the same events, so a listener reads from there what it missed: what was before it came,
//! or while the hub was down.
//! - `position.rs`: `height.index`, the id of an event and the place to resume after.
//! - `hub.rs`: who listens, and what each has waiting: a plain value. `actor.rs`: its mailbox.
//! - `feed.rs`: one listener's events in their order without a gap: from the store, then live.
//! - `socket.rs`: `/ws`. `origin.rs`: which pages may open it. `pass.rs`: short-lived keys for it.

mod actor;
mod feed;
mod hub;
pub(super) mod origin;
mod pass;
mod position;
mod socket;

pub use actor::{EVENTS, EventsActor, EventsMessage, observer};
pub use pass::Passes;

pub(super) use pass::{__path_give_pass, give_pass};
pub(super) use position::Position;
pub(super) use socket::{__path_listen, Closing, Said, listen};
