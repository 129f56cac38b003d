//! What is played.

use mpp_tempo::SessionProtocol;

use super::{
    Other,
    matrix::{Deviation, Direction, Whose},
    ours::WORDS,
};

const MPPX: &str = "mppx 0.11.0";
const MPPX_V1: &str = "mppx 0.8.14";
const MCP: &str = "MCP SDK 1.32.2";
pub(super) const PYMPP: &str = "pympp 0.16.0";
const MPP: &str = "mpp 0.18.2";

/// One flow with one peer.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) peer: &'static str,
    pub(super) name: &'static str,
    /// How the peer is known to depart from the protocol.
    deviation: Option<Deviation>,
    /// Why it can not be played on anvil.
    not_on_anvil: Option<Deviation>,
    pub(super) play: Play,
}

/// Who does what.
#[derive(Clone, Copy, Debug)]
pub(super) enum Play {
    /// The peer's client buys with a session, so many units for a cent each.
    Session {
        flow: &'static str,
        path: &'static str,
        units: u32,
    },
    /// The peer's client pays one charge.
    Charge {
        flow: &'static str,
        path: &'static str,
    },
    /// The peer's MCP client calls paid tools, which costs so much.
    Tools {
        flow: &'static str,
        calls: u32,
        cost: u64,
    },
    /// Our client buys requests from the peer's server.
    OurRequests { protocol: &'static str },
    /// Our client reads a stream of the peer's server.
    OurStream { protocol: &'static str },
    /// Our client pays one charge to the peer's server.
    OurCharge { path: &'static str },
    /// The peer's client asks the chain to close its channel with our server.
    Leave {
        protocol: SessionProtocol,
        server: Silence,
    },
    /// Our client asks the chain to close its channel with the peer's server.
    OurLeave {
        protocol: SessionProtocol,
        server: Silence,
    },
}

/// A server that a payer does not hear of any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is down until everything is over.
    Gone,
    /// It collects before the payer may withdraw.
    Collects,
}

const fn flow(peer: &'static str, name: &'static str, play: Play) -> Flow {
    Flow {
        peer,
        name,
        deviation: None,
        not_on_anvil: None,
        play,
    }
}

const fn session(
    peer: &'static str,
    name: &'static str,
    flow_name: &'static str,
    path: &'static str,
    units: u32,
) -> Flow {
    let play = Play::Session {
        flow: flow_name,
        path,
        units,
    };
    flow(peer, name, play)
}

const fn charge(
    peer: &'static str,
    name: &'static str,
    flow_name: &'static str,
    path: &'static str,
) -> Flow {
    let play = Play::Charge {
        flow: flow_name,
        path,
    };
    flow(peer, name, play)
}

const fn our_charge(peer: &'static str, name: &'static str, path: &'static str) -> Flow {
    flow(peer, name, Play::OurCharge { path })
}

const fn leave(peer: &'static str, protocol: SessionProtocol, server: Silence) -> Flow {
    let play = Play::Leave { protocol, server };
    flow(peer, leaving(protocol, server), play)
}

const fn our_leave(peer: &'static str, protocol: SessionProtocol, server: Silence) -> Flow {
    let play = Play::OurLeave { protocol, server };
    flow(peer, leaving(protocol, server), play)
}

const fn leaving(protocol: SessionProtocol, server: Silence) -> &'static str {
    match (protocol, server) {
        (SessionProtocol::V1, Silence::Gone) => "session v1, forced close, server gone",
        (SessionProtocol::V1, Silence::Collects) => "session v1, forced close, server collects",
        (SessionProtocol::V2, Silence::Gone) => "session v2, forced close, server gone",
        (SessionProtocol::V2, Silence::Collects) => "session v2, forced close, server collects",
    }
}

/// A flow that fails for a reason of the peer's.
const fn deviating(flow: Flow, why: Deviation) -> Flow {
    Flow {
        deviation: Some(why),
        ..flow
    }
}

/// A flow that fails on anvil for this reason.
const fn not_on_anvil(flow: Flow, why: Deviation) -> Flow {
    Flow {
        not_on_anvil: Some(why),
        ..flow
    }
}

/// Its client sends a transfer of nothing instead.
const SIGNS_NO_PROOF: Deviation = Deviation {
    whose: Whose::Peer,
    why: "it knows no proofs of identity",
    says: "a charge of zero is answered with a proof",
};
const TAKES_NO_PROOF: Deviation = Deviation {
    whose: Whose::Peer,
    why: "it knows no proofs of identity",
    says: "Input tag 'proof' found",
};
const NO_SIMULATION: Deviation = Deviation {
    whose: Whose::Peer,
    why: "it needs tempo_simulateV1, which no local node offers",
    says: "tempo_simulateV1",
};

const NO_SIMULATION_ON_ANVIL: Deviation = Deviation {
    says: "Method not found",
    ..NO_SIMULATION
};
const TRIED_AS_CREATION: Deviation = Deviation {
    whose: Whose::Anvil,
    why: "it tries calls as the creation of a contract, which needs more gas than they have",
    says: "eth_call: intrinsic gas too high",
};
const NO_TIME_LIMIT: Deviation = Deviation {
    whose: Whose::Anvil,
    why: "eth_sendRawTransactionSync takes no time limit",
    says: "invalid type: integer `20000`",
};

/// All flows.
pub(super) const FLOWS: &[Flow] = &[
    session(
        MPPX,
        "session v2, requests, close",
        "v2 requests",
        "/v2/requests",
        5,
    ),
    session(
        MPPX,
        "session v2, SSE with top-ups, close",
        "v2 stream",
        "/v2/stream",
        WORDS,
    ),
    session(
        MPPX,
        "session v2, WebSocket, close",
        "v2 socket",
        "/v2/stream",
        WORDS,
    ),
    session(
        MPPX,
        "session v2, resume by bootstrap",
        "v2 resume",
        "/v2/requests",
        5,
    ),
    session(
        MPPX,
        "session v1, requests, close",
        "v1 requests",
        "/v1/requests",
        5,
    ),
    session(
        MPPX,
        "session v1, SSE, close",
        "v1 stream",
        "/v1/stream",
        WORDS,
    ),
    leave(MPPX, SessionProtocol::V2, Silence::Collects),
    leave(MPPX, SessionProtocol::V2, Silence::Gone),
    leave(MPPX, SessionProtocol::V1, Silence::Collects),
    leave(MPPX, SessionProtocol::V1, Silence::Gone),
    charge(MPPX, "charge, pull", "pull charge", "/charge/pull"),
    charge(MPPX, "charge, push", "push charge", "/charge/push"),
    charge(
        MPPX,
        "charge, proof of identity",
        "proof charge",
        "/charge/proof",
    ),
    charge(
        MPPX,
        "charge, sponsored",
        "sponsored charge",
        "/charge/sponsored",
    ),
    charge(MPPX, "charge, splits", "splits charge", "/charge/splits"),
    flow(
        MPPX,
        "session v2, requests, close",
        Play::OurRequests { protocol: "v2" },
    ),
    flow(
        MPPX,
        "session v2, SSE with top-ups, close",
        Play::OurStream { protocol: "v2" },
    ),
    flow(
        MPPX_V1,
        "session v1, requests, close",
        Play::OurRequests { protocol: "v1" },
    ),
    flow(
        MPPX_V1,
        "session v1, SSE with top-ups, close",
        Play::OurStream { protocol: "v1" },
    ),
    our_leave(MPPX, SessionProtocol::V2, Silence::Collects),
    our_leave(MPPX, SessionProtocol::V2, Silence::Gone),
    our_leave(MPPX_V1, SessionProtocol::V1, Silence::Collects),
    our_leave(MPPX_V1, SessionProtocol::V1, Silence::Gone),
    not_on_anvil(
        our_charge(MPPX, "charge, pull", "/charge/pull"),
        TRIED_AS_CREATION,
    ),
    our_charge(MPPX, "charge, push", "/charge/push"),
    our_charge(MPPX, "charge, proof of identity", "/charge/proof"),
    not_on_anvil(
        our_charge(MPPX, "charge, sponsored", "/charge/sponsored"),
        TRIED_AS_CREATION,
    ),
    our_charge(MPPX, "charge, splits", "/charge/splits"),
    flow(
        MCP,
        "a client without payments is told",
        Play::Tools {
            flow: "plain",
            calls: 1,
            cost: 0,
        },
    ),
    flow(
        MCP,
        "charge, pull (mppx 0.11.0)",
        Play::Tools {
            flow: "charge",
            calls: 1,
            cost: 5,
        },
    ),
    flow(
        MCP,
        "session v2, three calls (mppx 0.11.0)",
        Play::Tools {
            flow: "session",
            calls: 3,
            cost: 10,
        },
    ),
    charge(PYMPP, "charge, pull", "pull charge", "/charge/pull"),
    deviating(
        charge(
            PYMPP,
            "charge, proof of identity",
            "proof charge",
            "/charge/proof",
        ),
        SIGNS_NO_PROOF,
    ),
    charge(
        PYMPP,
        "charge, sponsored",
        "sponsored charge",
        "/charge/sponsored",
    ),
    charge(PYMPP, "charge, splits", "splits charge", "/charge/splits"),
    not_on_anvil(
        our_charge(PYMPP, "charge, pull", "/charge/pull"),
        NO_TIME_LIMIT,
    ),
    deviating(
        our_charge(PYMPP, "charge, proof of identity", "/charge/proof"),
        TAKES_NO_PROOF,
    ),
    not_on_anvil(
        deviating(
            our_charge(PYMPP, "charge, sponsored", "/charge/sponsored"),
            NO_SIMULATION,
        ),
        NO_SIMULATION_ON_ANVIL,
    ),
    not_on_anvil(
        our_charge(PYMPP, "charge, splits", "/charge/splits"),
        NO_TIME_LIMIT,
    ),
    session(
        MPP,
        "session v2, requests, close",
        "v2 requests",
        "/v2/requests",
        5,
    ),
    session(
        MPP,
        "session v2, SSE with top-ups, close",
        "v2 stream",
        "/v2/stream",
        WORDS,
    ),
    session(
        MPP,
        "session v2, resume by bootstrap",
        "v2 resume",
        "/v2/requests",
        5,
    ),
    session(
        MPP,
        "session v1, requests, close",
        "v1 requests",
        "/v1/requests",
        5,
    ),
    session(
        MPP,
        "session v1, SSE, close",
        "v1 stream",
        "/v1/stream",
        WORDS,
    ),
    leave(MPP, SessionProtocol::V2, Silence::Collects),
    leave(MPP, SessionProtocol::V2, Silence::Gone),
    leave(MPP, SessionProtocol::V1, Silence::Collects),
    leave(MPP, SessionProtocol::V1, Silence::Gone),
    charge(MPP, "charge, pull", "pull charge", "/charge/pull"),
    charge(
        MPP,
        "charge, proof of identity",
        "proof charge",
        "/charge/proof",
    ),
    charge(
        MPP,
        "charge, sponsored",
        "sponsored charge",
        "/charge/sponsored",
    ),
    charge(MPP, "charge, splits", "splits charge", "/charge/splits"),
    flow(
        MPP,
        "session v1, requests, close",
        Play::OurRequests { protocol: "v1" },
    ),
    flow(
        MPP,
        "session v1, SSE, close",
        Play::OurStream { protocol: "v1" },
    ),
    our_leave(MPP, SessionProtocol::V1, Silence::Collects),
    our_leave(MPP, SessionProtocol::V1, Silence::Gone),
    our_charge(MPP, "charge, pull", "/charge/pull"),
    our_charge(MPP, "charge, proof of identity", "/charge/proof"),
    our_charge(MPP, "charge, sponsored", "/charge/sponsored"),
];

impl Flow {
    /// Why it is known to fail on this node.
    pub(super) fn known(&self, node: Option<Other>) -> Option<Deviation> {
        match node {
            None => self.deviation,
            Some(Other::Anvil) => self.not_on_anvil.or(self.deviation),
        }
    }

    pub(super) fn direction(&self) -> Direction {
        match self.play {
            Play::Session { .. }
            | Play::Charge { .. }
            | Play::Tools { .. }
            | Play::Leave { .. } => Direction::Buys,
            Play::OurRequests { .. }
            | Play::OurStream { .. }
            | Play::OurCharge { .. }
            | Play::OurLeave { .. } => Direction::Sells,
        }
    }

    /// The peer's client or server.
    pub(super) fn script(&self, role: &str) -> String {
        match self.peer {
            MCP => String::from("mcp.mjs"),
            PYMPP => format!("{role}.py"),
            MPP => format!("{role}.rs"),
            _ => format!("{role}.mjs"),
        }
    }
}
