//! The paying client against a small scripted server on real sockets.
//!
//! The server keeps the protocol's rules in a few lines of its own, so that it can also break them:
//! every test says which request is answered otherwise.
#![cfg(feature = "client")]

#[cfg(test)]
mod challenges;
#[cfg(test)]
mod charges;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod manage;
#[cfg(test)]
mod paying;
#[cfg(test)]
mod shop;
#[cfg(test)]
#[cfg(feature = "ws")]
mod sockets;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod wire;
