//! Asking a server for a channel that the book has lost (PROTOCOL 5.8).

use super::{Acquaintance, Wire};
use crate::error::ClientError;
use crate::offer::Offer;
use crate::origin::Site;
use crate::payer::Payer;
use crate::session::resume::Resume;

/// How many answers may be lost before a request fails.
const MAX_LOST: u32 = 3;

/// Asks for a channel, if the book may have lost it, before another one is
/// opened.
///
/// Nothing is paid. When the server can not say, this is an error: a second
/// deposit would not bring the first one back.
pub(super) async fn ask<W: Wire>(
    payer: &Payer,
    site: &Site,
    wire: &mut W,
    offer: &Offer,
) -> Result<(), ClientError> {
    let Some(resume) = payer.resume(site, offer).await? else {
        return Ok(());
    };
    let mut lost: u32 = 0;
    let met = loop {
        match introduce(wire, &resume).await {
            // Nothing is paid, so it can be asked again; a proof that was used is not.
            Err(ClientError::Transport(_)) if lost < MAX_LOST => lost = lost.saturating_add(1),
            met => break met?,
        }
    };
    match met {
        Some(met) => settle(resume, met).await,
        None => {
            resume.none();
            Ok(())
        }
    }
}

/// Proves who is asking, and returns the answer to that; `None` from a server
/// that asks for something else, because it knows nothing of this.
async fn introduce<W: Wire>(
    wire: &mut W,
    resume: &Resume,
) -> Result<Option<Acquaintance>, ClientError> {
    let met = wire.introduce(None).await.map_err(ClientError::from)?;
    if met.answer.status != 402 {
        return Ok(Some(met));
    }
    let Some(proof) = resume.proof(&met.answer.challenges).await? else {
        return Ok(None);
    };
    let met = wire
        .introduce(Some(&proof))
        .await
        .map_err(ClientError::from)?;
    match met.answer.status {
        200..=299 => Ok(Some(met)),
        status => Err(ClientError::Status { status }),
    }
}

/// Takes the channel over that an answer tells of.
async fn settle(resume: Resume, met: Acquaintance) -> Result<(), ClientError> {
    let status = met.answer.status;
    if status >= 500 && status != 501 {
        return Err(ClientError::Status { status });
    }
    match met.snapshot? {
        Some(snapshot) if status < 300 => resume.adopt(&snapshot).await.map(drop),
        _ => {
            resume.none();
            Ok(())
        }
    }
}
