//! Points in eight lanes, in the incomplete formulas of the scalar code.

use super::super::point::AffinePoint;
use super::convert::load_points;
use super::lanes::FieldVector;
use super::words::Mask;

/// Eight affine points; y is negated in the lanes of `negative`.
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
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn load(points: [&AffinePoint; 8], negative: Mask) -> Self {
        let (x, y) = load_points(points);
        Self { x, y, negative }
    }

    /// Sums of points with different x.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn add(&self, other: &Self) -> XyzzVector {
        let minus_y = self.y.negate_input(!(self.negative ^ other.negative));
        let delta_x = other.x.sub_input(&self.x);
        let slope = other.y.add_input(minus_y.0);
        let square = delta_x.square();
        let cube = delta_x.mul(&square);
        let base = self.x.mul(&square);
        let x = slope.square_add(cube.negated_with_double(&base));
        let y = FieldVector::sum_of_products(&minus_y, &cube, &slope, &base.sub_input(&x));
        XyzzVector {
            x,
            y,
            zz: square,
            zzz: cube,
            negative: other.negative,
        }
    }

    /// Adds points with different x, given the inverse of `other.x - self.x`.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn add_with_inverse(&mut self, other: &Self, inverse: &FieldVector) {
        // The slope up to the sign of this point, which stays noted.
        let flipped = self.negative ^ other.negative;
        let slope = other.y.signed_sub_input(flipped, &self.y).mul(inverse);
        let x = slope.square_add(self.x.negated_sum(&other.x));
        self.y = slope.mul_add(&self.x.sub_input(&x), self.y.negated());
        self.x = x;
    }
}

impl XyzzVector {
    /// A value to be replaced.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn unset() -> Self {
        let one = FieldVector::one();
        Self {
            x: one,
            y: one,
            zz: one,
            zzz: one,
            negative: 0,
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn from_affine(point: &AffineVector) -> Self {
        Self {
            x: point.x,
            y: point.y,
            zz: FieldVector::one(),
            zzz: FieldVector::one(),
            negative: point.negative,
        }
    }

    /// Adds affine points.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn add_affine(&mut self, other: &AffineVector) {
        let minus_y = self.y.negate_input(!(self.negative ^ other.negative));
        let delta_x = other.x.mul_add(&self.zz, self.x.negated());
        let slope = other.y.mul_add(&self.zzz, minus_y.0);
        let square = delta_x.square();
        let base = self.x.mul(&square);
        let cube = delta_x.mul(&square);
        self.zz = self.zz.mul(&square);
        self.x = slope.square_add(cube.negated_with_double(&base));
        self.zzz = self.zzz.mul(&cube);
        let fall = base.sub_input(&self.x);
        self.y = FieldVector::sum_of_products(&minus_y, &cube, &slope, &fall);
        self.negative = other.negative;
    }

    /// Adds points in XYZZ coordinates; neither side has a noted sign.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn add(&self, other: &Self) -> Self {
        debug_assert!(self.negative == 0 && other.negative == 0);
        let own_x = self.x.mul(&other.zz);
        let minus_y = self.y.mul(&other.zzz).negate_input(0xff);
        let delta_x = other.x.mul_add(&self.zz, own_x.negated());
        let slope = other.y.mul_add(&self.zzz, minus_y.0);
        let square = delta_x.square();
        let cube = delta_x.mul(&square);
        let base = own_x.mul(&square);
        let x = slope.square_add(cube.negated_with_double(&base));
        let y = FieldVector::sum_of_products(&minus_y, &cube, &slope, &base.sub_input(&x));
        Self {
            x,
            y,
            zz: self.zz.mul(&other.zz).mul(&square),
            zzz: self.zzz.mul(&other.zzz).mul(&cube),
            negative: 0,
        }
    }

    /// Doubles the points.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn double(&mut self) {
        let twice_y = self.y.add_input(self.y.0);
        let square = twice_y.square();
        let x_square = self.x.square();
        let cube = twice_y.mul(&square);
        let base = self.x.mul(&square);
        let slope = x_square.add_input(x_square.add_input(x_square.0).0);
        self.zz = square.mul(&self.zz);
        self.x = slope.square_add(base.negated_double());
        self.zzz = cube.mul(&self.zzz);
        let minus_y = self.y.negate_input(0xff);
        let fall = base.sub_input(&self.x);
        self.y = FieldVector::sum_of_products(&cube, &minus_y, &slope, &fall);
    }

    /// Carries out the noted signs.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn apply_signs(&mut self) {
        self.y = self.y.negate(self.negative);
        self.negative = 0;
    }

    /// Takes `other` in the lanes of `mask`.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn replace_lanes(&mut self, mask: Mask, other: &Self) {
        self.x = self.x.blend(mask, &other.x);
        self.y = self.y.blend(mask, &other.y);
        self.zz = self.zz.blend(mask, &other.zz);
        self.zzz = self.zzz.blend(mask, &other.zzz);
        self.negative = (self.negative & !mask) | (other.negative & mask);
    }
}
