//! Prepaid credit, bought with and tried to be stolen.

#[cfg(test)]
mod both_sides;
