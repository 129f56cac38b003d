//! Integers of 256 bits in four little-endian 64-bit limbs.

/// Least significant limb first.
pub(crate) type Limbs = [u64; 4];

/// Reads 32 big-endian bytes.
pub(super) fn from_be_bytes(bytes: &[u8; 32]) -> Limbs {
    let mut limbs = [0; 4];
    for (limb, word) in limbs.iter_mut().rev().zip(bytes.as_chunks::<8>().0) {
        *limb = u64::from_be_bytes(*word);
    }
    limbs
}

/// Writes 32 big-endian bytes.
#[cfg(test)]
pub(super) fn to_be_bytes(limbs: &Limbs) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (limb, word) in limbs.iter().rev().zip(bytes.as_chunks_mut::<8>().0) {
        *word = limb.to_be_bytes();
    }
    bytes
}

/// `a + b` and the carry out of bit 255.
#[inline(always)]
pub(super) fn add(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (l0, c) = a[0].overflowing_add(b[0]);
    let (l1, c) = a[1].carrying_add(b[1], c);
    let (l2, c) = a[2].carrying_add(b[2], c);
    let (l3, c) = a[3].carrying_add(b[3], c);
    ([l0, l1, l2, l3], c)
}

/// `a - b` modulo 2^256 and whether `a < b`.
#[inline(always)]
pub(super) fn sub(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (l0, c) = a[0].overflowing_sub(b[0]);
    let (l1, c) = a[1].borrowing_sub(b[1], c);
    let (l2, c) = a[2].borrowing_sub(b[2], c);
    let (l3, c) = a[3].borrowing_sub(b[3], c);
    ([l0, l1, l2, l3], c)
}

/// `a < b`.
#[cfg(test)]
pub(super) fn less(a: &Limbs, b: &Limbs) -> bool {
    sub(a, b).1
}

/// `a == 0`.
#[inline(always)]
pub(super) fn is_zero(a: &Limbs) -> bool {
    a[0] | a[1] | a[2] | a[3] == 0
}

/// The 512-bit product.
#[inline(always)]
pub(super) fn mul_wide(a: &Limbs, b: &Limbs) -> [u64; 8] {
    let (p0, c) = a[0].carrying_mul(b[0], 0);
    let (p1, c) = a[1].carrying_mul(b[0], c);
    let (p2, c) = a[2].carrying_mul(b[0], c);
    let (p3, p4) = a[3].carrying_mul(b[0], c);

    let (p1, c) = a[0].carrying_mul_add(b[1], p1, 0);
    let (p2, c) = a[1].carrying_mul_add(b[1], p2, c);
    let (p3, c) = a[2].carrying_mul_add(b[1], p3, c);
    let (p4, p5) = a[3].carrying_mul_add(b[1], p4, c);

    let (p2, c) = a[0].carrying_mul_add(b[2], p2, 0);
    let (p3, c) = a[1].carrying_mul_add(b[2], p3, c);
    let (p4, c) = a[2].carrying_mul_add(b[2], p4, c);
    let (p5, p6) = a[3].carrying_mul_add(b[2], p5, c);

    let (p3, c) = a[0].carrying_mul_add(b[3], p3, 0);
    let (p4, c) = a[1].carrying_mul_add(b[3], p4, c);
    let (p5, c) = a[2].carrying_mul_add(b[3], p5, c);
    let (p6, p7) = a[3].carrying_mul_add(b[3], p6, c);
    [p0, p1, p2, p3, p4, p5, p6, p7]
}

/// The 512-bit square: the mixed products once, doubled, plus the squares.
#[inline(always)]
pub(super) fn square_wide(a: &Limbs) -> [u64; 8] {
    let (m1, c) = a[0].carrying_mul(a[1], 0);
    let (m2, c) = a[0].carrying_mul(a[2], c);
    let (m3, m4) = a[0].carrying_mul(a[3], c);
    let (m3, c) = a[1].carrying_mul_add(a[2], m3, 0);
    let (m4, m5) = a[1].carrying_mul_add(a[3], m4, c);
    let (m5, m6) = a[2].carrying_mul_add(a[3], m5, 0);

    let m7 = m6 >> 63;
    let m6 = (m6 << 1) | (m5 >> 63);
    let m5 = (m5 << 1) | (m4 >> 63);
    let m4 = (m4 << 1) | (m3 >> 63);
    let m3 = (m3 << 1) | (m2 >> 63);
    let m2 = (m2 << 1) | (m1 >> 63);
    let m1 = m1 << 1;

    let (s0, high) = a[0].carrying_mul(a[0], 0);
    let (s1, c) = m1.overflowing_add(high);
    let (low, high) = a[1].carrying_mul(a[1], 0);
    let (s2, c) = m2.carrying_add(low, c);
    let (s3, c) = m3.carrying_add(high, c);
    let (low, high) = a[2].carrying_mul(a[2], 0);
    let (s4, c) = m4.carrying_add(low, c);
    let (s5, c) = m5.carrying_add(high, c);
    let (low, high) = a[3].carrying_mul(a[3], 0);
    let (s6, c) = m6.carrying_add(low, c);
    let (s7, _) = m7.carrying_add(high, c);
    [s0, s1, s2, s3, s4, s5, s6, s7]
}
