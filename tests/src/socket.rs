//! Paid streams over WebSocket (PROTOCOL 5.7).

mod frames;
mod reading;
mod together;
