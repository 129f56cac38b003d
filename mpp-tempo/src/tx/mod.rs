//! Building, signing and checking of Tempo transactions.
