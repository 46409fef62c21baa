//! The 500 seed tickets of a development network (api.md section 3).

use std::sync::{Arc, LazyLock};

use dtvn_messages::TicketId;
use dtvn_messages::ticket::Metadata;

/// How many seed tickets there are.
pub const SEED_TICKETS: usize = 500;

/// A seed ticket: `TICKET-001` to `TICKET-500`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedTicket {
    /// Its name.
    pub id: TicketId,
    /// Its seat, price and so on.
    pub metadata: Arc<Metadata>,
}

/// All seed tickets, in ascending order.
#[must_use]
pub fn seed_tickets() -> &'static [SeedTicket] {
    static TICKETS: LazyLock<Vec<SeedTicket>> = LazyLock::new(|| (1..=SEED_TICKETS).map(seed_ticket).collect());
    &TICKETS
}

/// The seed ticket of a number from 1 on.
fn seed_ticket(number: usize) -> SeedTicket {
    const SECTIONS: [(&str, &str); 4] =
        [("VIP", "150.00"), ("Floor", "85.00"), ("Balcony", "65.00"), ("General", "40.00")];
    const ROWS: &[u8; 26] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let (section, price) = SECTIONS[(number - 1) % SECTIONS.len()];
    let row = char::from(ROWS[(number - 1) / 10 % ROWS.len()]);
    let seat = format!("{row}{}", (number - 1) % 10 + 1);
    let buyer = format!("buyer_{number:03}@email.com");
    let facts = [
        ("source", "seed"),
        ("event", "Summer Music Festival 2026"),
        ("venue", "Grand Arena"),
        ("section", section),
        ("price", price),
        ("seat", &seat),
        ("buyer", &buyer),
    ];
    #[expect(clippy::expect_used, reason = "letters, '-' and digits are printable and few")]
    let id = TicketId::new(&format!("TICKET-{number:03}")).expect("a seed ticket's name is a valid name");
    let metadata = facts.into_iter().map(|(name, value)| (Box::from(name), Box::from(value))).collect();
    SeedTicket { id, metadata: Arc::new(metadata) }
}
