//! The payees that each server is pinned to.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use super::fault::At as _;
use super::line::{self, Flush};
use crate::session::book::BookError;
use crate::sync::lock;

/// A log of pins, and those that were read from it; a pin never changes.
#[derive(Debug)]
pub(super) struct Payees {
    path: PathBuf,
    known: Mutex<HashMap<String, Vec<Address>>>,
}

#[derive(Serialize, Deserialize)]
struct Pin {
    origin: String,
    payee: Address,
    /// Those who got splits of the first payment. Not in pins of older versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    splits: Vec<Address>,
}

impl Pin {
    fn into_payees(self) -> Vec<Address> {
        std::iter::once(self.payee).chain(self.splits).collect()
    }
}

impl Payees {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: Mutex::default(),
        }
    }

    pub(super) fn find(&self, origin: &str) -> Result<Option<Vec<Address>>, BookError> {
        if let Some(payees) = lock(&self.known).get(origin) {
            return Ok(Some(payees.clone()));
        }
        let bytes = self.bytes()?;
        let (lines, _) = line::whole(&bytes, &self.path)?;
        let mut pins = HashMap::new();
        for json in lines {
            let pin: Pin = line::read(json, &self.path)?;
            let origin = pin.origin.clone();
            pins.entry(origin).or_insert_with(|| pin.into_payees());
        }
        let found = pins.get(origin).cloned();
        *lock(&self.known) = pins;
        Ok(found)
    }

    /// Adds a pin. The caller holds the book's lock and has looked.
    pub(super) fn add(&self, origin: &str, payees: &[Address]) -> Result<(), BookError> {
        let Some((payee, splits)) = payees.split_first() else {
            return Ok(());
        };
        let bytes = self.bytes()?;
        let (_, end) = line::whole(&bytes, &self.path)?;
        let origin = origin.to_owned();
        let line = line::seal(&Pin {
            origin,
            payee: *payee,
            splits: splits.to_vec(),
        })?;
        line::append(&self.path, end, &line, Flush::Now)?;
        line::sync_folder(&self.path)
    }

    fn bytes(&self) -> Result<Vec<u8>, BookError> {
        match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.at(&self.path),
        }
    }
}
