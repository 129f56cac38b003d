//! The poem on the left, the money on the right, in 80 columns.

use std::io::{IsTerminal as _, Write as _, stdout};

use mpp_core::Amount;

/// The channel as the server accounts for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Money {
    pub(super) vouchers: u32,
    pub(super) accepted: Amount,
    pub(super) spent: Amount,
    pub(super) deposit: Amount,
}

/// Prints words as they come, with a live line of the channel beside them.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The line of the poem so far.
    line: String,
}

impl Screen {
    /// Names the columns.
    pub(super) fn heading() {
        println!();
        println!(
            "{:<39} {:>8} {:>9} {:>9} {:>9}",
            "", "vouchers", "accepted", "spent", "deposit"
        );
    }

    /// A piece of the poem has arrived.
    pub(super) fn text(&mut self, text: &str, money: Money) {
        for piece in text.split_inclusive('\n') {
            self.line.push_str(piece.trim_end_matches('\n'));
            if piece.ends_with('\n') {
                if self.line.is_empty() {
                    println!();
                } else {
                    self.show(&columns(money));
                    println!();
                }
                self.line.clear();
            } else if stdout().is_terminal() {
                self.show(&columns(money));
            }
        }
    }

    /// The server asks for a voucher; the stream pauses.
    pub(super) fn asked(&self, required: Amount) {
        if stdout().is_terminal() {
            self.show(&format!("needs a voucher for {}", usd(required)));
        }
    }

    /// Something worth a line of its own.
    pub(super) fn note(&self, text: &str) {
        self.clear();
        println!("* {text}");
    }

    /// Takes the live line away.
    pub(super) fn clear(&self) {
        if stdout().is_terminal() {
            print!("\r\x1b[K");
        }
    }

    fn show(&self, right: &str) {
        self.clear();
        print!("{:<39} {right}", self.line);
        // A terminal that is gone ends the demo elsewhere.
        drop(stdout().flush());
    }
}

fn columns(money: Money) -> String {
    format!(
        "{:>8} {:>9} {:>9} {:>9}",
        money.vouchers,
        usd(money.accepted),
        usd(money.spent),
        usd(money.deposit)
    )
}

/// An amount in dollars, with at least three decimals: "$0.010".
pub(super) fn usd(amount: Amount) -> String {
    let text = amount.to_decimal(6);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("${whole}.{fraction:0<3}")
}

/// An id short enough to recognize: "0x1234ab..cd56".
pub(super) fn short(id: &str) -> String {
    match (id.get(..8), id.get(id.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) if id.len() > 14 => format!("{head}..{tail}"),
        _ => id.to_owned(),
    }
}
