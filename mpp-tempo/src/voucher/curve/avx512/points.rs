//! Points in eight lanes, in the incomplete XYZZ formulas of the scalar code.

use super::super::point::AffinePoint;
use super::convert::load_points;
use super::lanes::FieldVector;
use super::words::Mask;

/// Eight affine points to add, each with its sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct AffineVector {
    pub(super) x: FieldVector,
    pub(super) y: FieldVector,
    pub(super) negative: Mask,
}

/// Eight points in XYZZ coordinates; y is negated in the lanes of `negative`.
///
/// Subtracting a point is adding it to the negative accumulator, and that sign is only noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct XyzzVector {
    pub(super) x: FieldVector,
    pub(super) y: FieldVector,
    pub(super) zz: FieldVector,
    pub(super) zzz: FieldVector,
    pub(super) negative: Mask,
}

impl AffineVector {
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn load(points: [&AffinePoint; 8], negative: Mask) -> Self {
        let (x, y) = load_points(points);
        Self { x, y, negative }
    }

    /// The points times lambda.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn endomorphism(&self, beta: &FieldVector) -> Self {
        Self {
            x: self.x.mul(beta),
            ..*self
        }
    }

    /// Sums of points with different x.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn add(&self, other: &Self) -> XyzzVector {
        let minus_y = self.y.negate_input(!(self.negative ^ other.negative));
        let delta_x = other.x.sub_input(&self.x);
        let slope = other.y.add_input(minus_y.0);
        let square = delta_x.square();
        let cube = delta_x.mul(&square);
        let (x, y) = chord(&self.x.mul(&square), &minus_y, &slope, &cube);
        XyzzVector {
            x,
            y,
            zz: square,
            zzz: cube,
            negative: other.negative,
        }
    }
}

impl XyzzVector {
    /// Adds affine points.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn add_affine(&self, other: &AffineVector) -> Self {
        let minus_y = self.y.negate_input(!(self.negative ^ other.negative));
        let delta_x = other.x.mul_add(&self.zz, self.x.negated());
        let slope = other.y.mul_add(&self.zzz, minus_y.0);
        let square = delta_x.square();
        let cube = delta_x.mul(&square);
        let (x, y) = chord(&self.x.mul(&square), &minus_y, &slope, &cube);
        Self {
            x,
            y,
            zz: self.zz.mul(&square),
            zzz: self.zzz.mul(&cube),
            negative: other.negative,
        }
    }

    /// Adds points in XYZZ coordinates; neither side has a noted sign.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn add(&self, other: &Self) -> Self {
        debug_assert!(self.negative == 0 && other.negative == 0);
        let own_x = self.x.mul(&other.zz);
        let minus_y = self.y.mul(&other.zzz).negate_input(0xff);
        let delta_x = other.x.mul_add(&self.zz, own_x.negated());
        let slope = other.y.mul_add(&self.zzz, minus_y.0);
        let square = delta_x.square();
        let cube = delta_x.mul(&square);
        let (x, y) = chord(&own_x.mul(&square), &minus_y, &slope, &cube);
        Self {
            x,
            y,
            zz: self.zz.mul(&other.zz).mul(&square),
            zzz: self.zzz.mul(&other.zzz).mul(&cube),
            negative: 0,
        }
    }

    /// Twice the points.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn double(&self) -> Self {
        let twice_y = self.y.add_input(self.y.0);
        let square = twice_y.square();
        let cube = twice_y.mul(&square);
        let base = self.x.mul(&square);
        let x_square = self.x.square();
        let slope = x_square.add_input(x_square.add_input(x_square.0).0);
        let x = slope.square_add(base.negated_double());
        let minus_y = self.y.negate_input(0xff);
        let y = FieldVector::sum_of_products(&slope, &base.sub_input(&x), &cube, &minus_y);
        Self {
            x,
            y,
            zz: square.mul(&self.zz),
            zzz: cube.mul(&self.zzz),
            negative: self.negative,
        }
    }

    /// Carries out the noted signs.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn with_signs(&self) -> Self {
        Self {
            y: self.y.negate(self.negative),
            negative: 0,
            ..*self
        }
    }

    /// `other` in the lanes of `mask`, else `self`.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn blend(&self, mask: Mask, other: &Self) -> Self {
        Self {
            x: self.x.blend(mask, &other.x),
            y: self.y.blend(mask, &other.y),
            zz: self.zz.blend(mask, &other.zz),
            zzz: self.zzz.blend(mask, &other.zzz),
            negative: (self.negative & !mask) | (other.negative & mask),
        }
    }
}

/// X and Y of a sum, as in the scalar code; `minus_y` is Y1 negated.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn chord(
    base: &FieldVector,
    minus_y: &FieldVector,
    slope: &FieldVector,
    cube: &FieldVector,
) -> (FieldVector, FieldVector) {
    let x = slope.square_add(cube.negated_with_double(base));
    let y = FieldVector::sum_of_products(slope, &base.sub_input(&x), minus_y, cube);
    (x, y)
}
