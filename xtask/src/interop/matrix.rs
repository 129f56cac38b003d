//! Who plays whom, and how it went.

use anyhow::ensure;

/// Results in the order of the flows.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    peer: &'static str,
    flow: &'static str,
    direction: Direction,
    end: End,
}

/// Who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The peer buys from our server.
    Buys,
    /// The peer sells to our client.
    Sells,
}

/// Why a flow is known to fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deviation {
    /// Whose reason it is.
    pub(super) whose: Whose,
    /// In words for the table.
    pub(super) why: &'static str,
    /// What the failure says: any other one is news.
    pub(super) says: &'static str,
}

/// What a flow fails for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The peer departs from the protocol.
    Peer,
    /// The node does not do what the peer counts on.
    Anvil,
}

#[derive(Debug)]
enum End {
    Works,
    /// It fails as is known.
    Deviates(Deviation),
    Failed(String),
}

impl Direction {
    fn verb(self) -> &'static str {
        match self {
            Self::Buys => "buys",
            Self::Sells => "sells",
        }
    }
}

impl Matrix {
    /// Notes a result, which is to be as it is `known` to be: a peer that was
    /// mended is news too.
    pub(super) fn add(
        &mut self,
        (peer, flow, direction): (&'static str, &'static str, Direction),
        known: Option<Deviation>,
        result: anyhow::Result<()>,
    ) {
        let end = match (result, known) {
            (Ok(()), None) => End::Works,
            (Err(error), Some(known)) if format!("{error:#}").contains(known.says) => {
                End::Deviates(known)
            }
            (Ok(()), Some(_)) => End::Failed(String::from("works now: strike the deviation")),
            (Err(error), _) => End::Failed(format!("{error:#}")),
        };
        let row = Row {
            peer,
            flow,
            direction,
            end,
        };
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// The table for the README.
    pub(super) fn print_markdown(&self) {
        println!("\n| peer | pays | flow | result |\n|---|---|---|---|");
        for row in &self.rows {
            let Row {
                peer,
                flow,
                direction,
                end,
            } = row;
            let payer = match direction {
                Direction::Buys => "peer",
                Direction::Sells => "we",
            };
            println!("| {peer} | {payer} | {flow} | {} |", end.text());
        }
    }

    /// Counts.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        let count =
            |wanted: fn(&End) -> bool| self.rows.iter().filter(|row| wanted(&row.end)).count();
        let works = count(|end| matches!(end, End::Works));
        let of_peers =
            count(|end| matches!(end, End::Deviates(known) if known.whose == Whose::Peer));
        let of_anvil =
            count(|end| matches!(end, End::Deviates(known) if known.whose == Whose::Anvil));
        let failed = count(|end| matches!(end, End::Failed(_)));
        println!("\n{works} work, {of_peers} known deviations of peers, {of_anvil} not on anvil");
        let known = of_peers.saturating_add(of_anvil);
        println!("{} passed, {failed} failed", works.saturating_add(known));
        ensure!(
            failed == 0,
            "some peers and we do not understand each other"
        );
        ensure!(works > 0, "no flow has this name");
        Ok(())
    }
}

impl Row {
    fn line(&self) -> String {
        let verb = self.direction.verb();
        format!(
            "{:<15} {verb:<6} {:<41} {}",
            self.peer,
            self.flow,
            self.end.text()
        )
    }
}

impl End {
    fn text(&self) -> String {
        match self {
            Self::Works => String::from("ok"),
            Self::Deviates(known) => {
                let whose = match known.whose {
                    Whose::Peer => "peer deviates",
                    Whose::Anvil => "not on anvil",
                };
                format!("{whose}: {}", known.why)
            }
            Self::Failed(why) => format!("FAILED: {why}"),
        }
    }
}
