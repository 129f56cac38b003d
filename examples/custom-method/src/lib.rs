//! A payment method of one's own, both sides: prepaid API credit.
//!
//! An account has a balance and a secret. To pay, it signs the id of the challenge with the
//! secret; the server checks that, uses the id up, and takes the price from the balance. Here all
//! of that is in memory; a real one keeps it in a database, in one transaction.

#![forbid(unsafe_code)]
#![expect(missing_debug_implementations, reason = "the values hold secrets")]

use std::{
    collections::{HashMap, HashSet},
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use mpp_client::{ClientMethod, MethodError, Origin, method::BoxFuture};
use mpp_core::{Challenge, ChargeReceipt, EncodedJson, IntentName, MethodName, Receipt};
use mpp_server::gate::{BoundCredential, Grant, PaymentMethod, Redeemed, Reuse, Visit};
use mpp_server::{Failure, Misuse, Offer, Rejection};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What goes over the wire: the price in a challenge, the payment in a credential.
#[derive(Serialize, Deserialize)]
struct Price {
    credits: u64,
}
#[derive(Serialize, Deserialize)]
struct Token {
    account: String,
    mac: Vec<u8>,
}

fn mac(secret: &[u8; 64], challenge: &Challenge) -> Hmac<sha2::Sha256> {
    Hmac::new(secret.into()).chain_update(challenge.id.as_str())
}

/// The accounts of the server: balance and secret of each, and what was paid already.
#[derive(Default)]
pub struct Bank(Mutex<(Accounts, HashSet<String>)>);

type Accounts = HashMap<String, (u64, [u8; 64])>;

impl Bank {
    /// Opens an account.
    pub fn open(&self, account: &str, credits: u64, secret: [u8; 64]) {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        books.0.insert(account.to_owned(), (credits, secret));
    }

    fn take(&self, credential: &BoundCredential, price: u64) -> Result<(), Rejection> {
        let refused = |why: &str| Rejection::VerificationFailed(String::from(why));
        let token: Token = serde_json::from_value(credential.payload().clone())
            .map_err(|_| Rejection::InvalidPayload(String::from("the token can not be read")))?;
        let challenge = credential.challenge();
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (accounts, paid) = &mut *books;
        let unknown = || refused("the token is not one of the account");
        let (balance, secret) = accounts.get_mut(&token.account).ok_or_else(unknown)?;
        // Compares in constant time.
        let checked = mac(secret, challenge).verify_slice(&token.mac);
        checked.map_err(|_| unknown())?;
        let rest = balance.checked_sub(price);
        let rest = rest.ok_or_else(|| refused("the credit is used up"))?;
        if !paid.insert(challenge.id.to_string()) {
            return Err(Rejection::InvalidChallenge("the challenge was paid before"));
        }
        *balance = rest;
        Ok(())
    }
}

/// The server's side: one price, paid from the accounts of a bank.
pub struct CreditOffer {
    bank: Arc<Bank>,
    price: u64,
    request: EncodedJson,
    names: (MethodName, IntentName),
}

impl CreditOffer {
    /// An offer for a route.
    ///
    /// # Errors
    /// When the price can not be written.
    pub fn build(bank: Arc<Bank>, price: u64) -> Result<Offer, Misuse> {
        let request = EncodedJson::from_value(&Price { credits: price });
        Ok(Offer::new(Self {
            bank,
            price,
            request: request.map_err(|_| Misuse::Invalid("the price can not be written"))?,
            names: names().map_err(|_| Misuse::Invalid("the method's name is no name"))?,
        }))
    }
}

fn names() -> Result<(MethodName, IntentName), mpp_core::IdError> {
    Ok((MethodName::new("credit")?, IntentName::charge()))
}

impl PaymentMethod for CreditOffer {
    fn method(&self) -> &MethodName {
        &self.names.0
    }
    fn intent(&self) -> &IntentName {
        &self.names.1
    }
    fn request(&self) -> &EncodedJson {
        &self.request
    }
    fn description(&self) -> Option<&str> {
        Some("Prepaid credit")
    }
    fn reuse(&self) -> Reuse {
        Reuse::Once
    }
    fn redeem(
        &self,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'_, Result<Redeemed, Failure>> {
        let id = credential.challenge().id.clone();
        let grant = |()| {
            let mut receipt = ChargeReceipt::new(self.names.0.clone(), visit.now, id.as_str());
            receipt.challenge_id = Some(id);
            Redeemed::Serve(Grant::new(Receipt::Charge(receipt)))
        };
        let paid = self.bank.take(&credential, self.price).map(grant);
        Box::pin(ready(paid.map_err(Failure::from)))
    }
}

/// The client's side: an account, its secret, and the most that one request may cost.
pub struct Credit {
    account: String,
    secret: [u8; 64],
    limit: u64,
    names: (MethodName, IntentName),
}

impl Credit {
    /// An account of a server.
    ///
    /// # Errors
    /// Never, since the method's name is a name.
    pub fn new(account: &str, secret: [u8; 64], limit: u64) -> Result<Self, mpp_core::IdError> {
        let (account, names) = (account.to_owned(), names()?);
        Ok(Self {
            account,
            secret,
            limit,
            names,
        })
    }
}

impl ClientMethod for Credit {
    fn method(&self) -> &MethodName {
        &self.names.0
    }
    fn intent(&self) -> &IntentName {
        &self.names.1
    }
    fn check(&self, _: &Origin, challenge: &Challenge) -> Result<(), MethodError> {
        let price: Price = challenge.request.decode().map_err(MethodError::new)?;
        if price.credits > self.limit {
            return Err(MethodError::new("that costs too many credits"));
        }
        Ok(())
    }
    fn pay<'a>(
        &'a self,
        _: &'a Origin,
        challenge: &'a Challenge,
    ) -> BoxFuture<'a, Result<Value, MethodError>> {
        let mac = mac(&self.secret, challenge).finalize().into_bytes();
        Box::pin(ready(Ok(
            json!({ "account": self.account, "mac": mac.to_vec() }),
        )))
    }
}
