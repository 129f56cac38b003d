//! Points of y^2 = x^3 + 7 in affine and in XYZZ coordinates.
//!
//! XYZZ holds x = X / ZZ and y = Y / ZZZ with ZZ^3 = ZZZ^2; adding an affine point costs eight
//! multiplications and two squarings. The additions are incomplete: equal x coordinates (doubling
//! or a point and its negative) give ZZ = 0. ZZ is a factor of every later ZZ, so once zero it
//! stays zero, and one test at the end tells whether any step was exceptional.

use super::field::FieldElement;

/// A finite point; one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct AffinePoint {
    pub(super) x: FieldElement,
    pub(super) y: FieldElement,
}

/// A point in XYZZ coordinates; ZZ = 0 marks an exceptional addition.
#[derive(Clone, Copy, Debug)]
pub(super) struct XyzzPoint {
    pub(super) x: FieldElement,
    pub(super) y: FieldElement,
    pub(super) zz: FieldElement,
    pub(super) zzz: FieldElement,
}

/// The generator G.
pub(super) const GENERATOR: AffinePoint = AffinePoint {
    x: FieldElement([
        0x59f2_815b_16f8_1798,
        0x029b_fcdb_2dce_28d9,
        0x55a0_6295_ce87_0b07,
        0x79be_667e_f9dc_bbac,
    ]),
    y: FieldElement([
        0x9c47_d08f_fb10_d4b8,
        0xfd17_b448_a685_5419,
        0x5da4_fbfc_0e11_08a8,
        0x483a_da77_26a3_c465,
    ]),
};

impl AffinePoint {
    /// Takes coordinates that a library has already checked.
    ///
    /// The fast paths compute nonsense for a pair off the curve, so it is refused.
    pub(crate) fn from_coordinates(x: &[u8; 32], y: &[u8; 32]) -> Option<Self> {
        let point = Self {
            x: FieldElement::from_be_bytes(x).normalize(),
            y: FieldElement::from_be_bytes(y).normalize(),
        };
        point.is_on_curve().then_some(point)
    }

    pub(super) fn is_on_curve(&self) -> bool {
        let seven = FieldElement([7, 0, 0, 0]);
        self.y.square() == self.x.square().mul(&self.x).add(&seven)
    }

    #[inline(always)]
    pub(super) fn neg(&self) -> Self {
        self.neg_if(true)
    }

    #[inline(always)]
    pub(super) fn neg_if(&self, negative: bool) -> Self {
        Self {
            x: self.x,
            y: self.y.neg_if(negative),
        }
    }

    /// The point times lambda.
    #[inline(always)]
    pub(super) fn endomorphism(&self) -> Self {
        Self {
            x: self.x.mul(&FieldElement::BETA),
            y: self.y,
        }
    }

    /// The sum of two affine points with different x.
    #[inline(always)]
    pub(super) fn add(&self, other: &Self) -> XyzzPoint {
        let delta_x = other.x.sub(&self.x);
        let delta_y = other.y.sub(&self.y);
        let square = delta_x.square();
        let cube = delta_x.mul(&square);
        let (x, y) = chord(&self.x.mul(&square), &self.y, &delta_y, &cube);
        XyzzPoint {
            x,
            y,
            zz: square,
            zzz: cube,
        }
    }
}

/// X and Y of a sum: `base` is X1 P^2, `slope` is R and `cube` is P^3 of the formulas.
#[inline(always)]
fn chord(
    base: &FieldElement,
    y: &FieldElement,
    slope: &FieldElement,
    cube: &FieldElement,
) -> (FieldElement, FieldElement) {
    let x_sum = slope.square().sub(cube).sub(&base.double());
    let y_sum = slope.mul(&base.sub(&x_sum)).sub(&y.mul(cube));
    (x_sum, y_sum)
}

impl XyzzPoint {
    #[inline(always)]
    pub(super) fn from_affine(point: &AffinePoint) -> Self {
        Self {
            x: point.x,
            y: point.y,
            zz: FieldElement::ONE,
            zzz: FieldElement::ONE,
        }
    }

    /// Whether an addition on the way here was exceptional (or the sum is infinity).
    pub(super) fn is_exceptional(&self) -> bool {
        self.zz.is_zero()
    }

    /// Adds an affine point.
    #[inline(always)]
    pub(super) fn add_affine(&self, other: &AffinePoint) -> Self {
        let delta_x = other.x.mul(&self.zz).sub(&self.x);
        let slope = other.y.mul(&self.zzz).sub(&self.y);
        let square = delta_x.square();
        let cube = delta_x.mul(&square);
        let (x, y) = chord(&self.x.mul(&square), &self.y, &slope, &cube);
        Self {
            x,
            y,
            zz: self.zz.mul(&square),
            zzz: self.zzz.mul(&cube),
        }
    }

    /// Adds a point in XYZZ coordinates.
    #[cfg(any(test, target_arch = "x86_64"))]
    #[inline(always)]
    pub(super) fn add(&self, other: &Self) -> Self {
        let own_x = self.x.mul(&other.zz);
        let own_y = self.y.mul(&other.zzz);
        let delta_x = other.x.mul(&self.zz).sub(&own_x);
        let slope = other.y.mul(&self.zzz).sub(&own_y);
        let square = delta_x.square();
        let cube = delta_x.mul(&square);
        let (x, y) = chord(&own_x.mul(&square), &own_y, &slope, &cube);
        Self {
            x,
            y,
            zz: self.zz.mul(&other.zz).mul(&square),
            zzz: self.zzz.mul(&other.zzz).mul(&cube),
        }
    }

    /// Twice the point. No point of odd order has y = 0, so this is never exceptional.
    #[inline(always)]
    pub(super) fn double(&self) -> Self {
        let twice_y = self.y.double();
        let square = twice_y.square();
        let cube = twice_y.mul(&square);
        let base = self.x.mul(&square);
        let x_square = self.x.square();
        let slope = x_square.double().add(&x_square);
        let x = slope.square().sub(&base.double());
        let y = slope.mul(&base.sub(&x)).sub(&cube.mul(&self.y));
        Self {
            x,
            y,
            zz: square.mul(&self.zz),
            zzz: cube.mul(&self.zzz),
        }
    }

    /// The affine point, given the inverse of ZZZ. Coordinates are normalized.
    pub(super) fn to_affine(self, inverse_zzz: &FieldElement) -> AffinePoint {
        // ZZ / ZZZ = 1 / Z and its square is 1 / ZZ.
        let inverse_z = inverse_zzz.mul(&self.zz);
        AffinePoint {
            x: self.x.mul(&inverse_z.square()).normalize(),
            y: self.y.mul(inverse_zzz).normalize(),
        }
    }
}

/// Inverts all elements with one inversion (Montgomery's trick).
///
/// None may be zero; `prefixes` is scratch space of the same length.
#[inline(always)]
pub(super) fn invert_all(elements: &mut [FieldElement], prefixes: &mut [FieldElement]) {
    debug_assert_eq!(elements.len(), prefixes.len());
    if let [only] = elements {
        *only = only.invert();
        return;
    }
    let mut product = FieldElement::ONE;
    for (element, prefix) in elements.iter().zip(prefixes.iter_mut()) {
        *prefix = product;
        product = product.mul(element);
    }
    let mut inverse = product.invert();
    for (element, prefix) in elements.iter_mut().zip(prefixes.iter()).rev() {
        let own = inverse.mul(prefix);
        inverse = inverse.mul(element);
        *element = own;
    }
}

#[cfg(test)]
mod tests;
