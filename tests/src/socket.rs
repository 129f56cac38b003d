//! Paid streams over WebSocket (PROTOCOL 5.7).

mod between;
mod frames;
mod reading;
mod together;
mod waiting;
