//! Sums of points by affine additions that share one inversion per level.
//!
//! An affine addition costs six multiplications with its share of the inversion, an XYZZ addition
//! ten. Each level halves the points at a comb position, so later levels have fewer additions to
//! pay for the inversion; with few claims the XYZZ additions take over earlier.

use core::mem::MaybeUninit;

use super::super::comb::SPACING;
use super::super::field::FieldElement;
use super::super::tables::{SignerTable, generator_table};
use super::lanes::FieldVector;
use super::points::AffineVector;
use super::steps::{COLUMNS, FIRST, Group, SECOND};
use super::words::Mask;

/// Additions of the first level at one comb position.
const PAIRS: usize = COLUMNS / 2;

/// Additions of the first level that table entries are asked for in advance: far enough for
/// memory to answer, and few enough for the nearest cache.
const AHEAD: usize = 12;

/// An addition: the sum goes to the place of the first point.
type Pair = (usize, usize);

/// By level, the additions at each comb position. Places are columns: four of u1, four of the
/// first half of u2, four of the second half.
const LEVELS: [&[Pair]; 4] = [
    &[(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)],
    &[(0, 2), (4, 6), (8, 10)],
    &[(0, 4)],
    &[(0, 8)],
];
/// The places that hold points after each level.
const LEFT: [&[usize]; 4] = [&[0, 2, 4, 6, 8, 10], &[0, 4, 8], &[0, 8], &[0]];

/// Levels that pay for this number of groups.
const fn levels_for(groups: usize) -> usize {
    match groups {
        0 | 1 => 1,
        2 | 3 => 2,
        4 | 5 => 3,
        _ => 4,
    }
}

/// The points of up to `GROUPS` groups of eight claims. Large: it stays where it is made.
pub(super) struct Forest<const GROUPS: usize> {
    groups: usize,
    /// Written in all groups in use by the first level, which is the first thing done.
    points: [[[MaybeUninit<AffineVector>; COLUMNS]; SPACING]; GROUPS],
    /// The product before each addition of a level.
    prefixes: [[[MaybeUninit<FieldVector>; PAIRS]; SPACING]; GROUPS],
    /// By group, the lanes in which two points had the same x: what they hold has no meaning.
    pub(super) exceptional: [Mask; GROUPS],
}

impl<const GROUPS: usize> Forest<GROUPS> {
    /// Room for this number of groups.
    #[inline]
    pub(super) const fn new(groups: usize) -> Self {
        Self {
            groups,
            points: [[[MaybeUninit::uninit(); COLUMNS]; SPACING]; GROUPS],
            prefixes: [[[MaybeUninit::uninit(); PAIRS]; SPACING]; GROUPS],
            exceptional: [0; GROUPS],
        }
    }

    /// Loads the points of the steps and adds them up as far as it pays.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn grow(&mut self, steps: &[Group; GROUPS], tables: &[[&SignerTable; 8]; GROUPS]) {
        let product = self.load(steps, tables);
        self.add_level(LEVELS[0], product);
        let levels = levels_for(self.groups);
        if levels == 1 {
            self.apply_endomorphism(&[SECOND, SECOND + 2]);
            return;
        }
        let product = self.multiply_up(LEVELS[1]);
        self.add_level(LEVELS[1], product);
        self.apply_endomorphism(&[SECOND]);
        for pairs in &LEVELS[2..levels] {
            let product = self.multiply_up(pairs);
            self.add_level(pairs, product);
        }
    }

    /// The points left at a position of a grown forest, whose sum is wanted.
    pub(super) fn left(
        &self,
        group: usize,
        position: usize,
    ) -> impl Iterator<Item = &AffineVector> {
        let places = LEFT[levels_for(self.groups) - 1].iter();
        places.map(move |place| self.point(group, position, *place))
    }

    #[inline]
    fn point(&self, group: usize, position: usize, place: usize) -> &AffineVector {
        // SAFETY: all places of groups in use were written by `load`, before anything reads.
        unsafe { self.points[group][position][place].assume_init_ref() }
    }

    #[inline]
    fn point_mut(&mut self, group: usize, position: usize, place: usize) -> &mut AffineVector {
        // SAFETY: as for `point`.
        unsafe { self.points[group][position][place].assume_init_mut() }
    }

    /// The points of a pair, of which the first is to become the sum.
    #[inline]
    fn pair(
        &mut self,
        group: usize,
        position: usize,
        (left, right): Pair,
    ) -> (&mut AffineVector, &AffineVector) {
        let (before, after) = self.points[group][position].split_at_mut(right);
        // SAFETY: as for `point`.
        unsafe { (before[left].assume_init_mut(), after[0].assume_init_ref()) }
    }

    /// Loads all points. Does for the first level what [`multiply_up`](Self::multiply_up) does for
    /// the others: the loads hide behind the products.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    fn load(
        &mut self,
        steps: &[Group; GROUPS],
        tables: &[[&SignerTable; 8]; GROUPS],
    ) -> FieldVector {
        let generator = generator_table();
        for (group, tables) in steps[..self.groups].iter().zip(tables) {
            group.correction.prefetch_own(tables);
        }
        let count = self.groups;
        let mut next = 0;
        let mut prefetch = || {
            let (group, rest) = (next / (SPACING * PAIRS), next % (SPACING * PAIRS));
            next += 1;
            if group >= count {
                return;
            }
            let column = 2 * (rest % PAIRS);
            let row = &steps[group].rows()[rest / PAIRS];
            for step in &row[column..column + 2] {
                if column < FIRST {
                    step.prefetch_shared(generator);
                } else {
                    step.prefetch_own(&tables[group]);
                }
            }
        };
        for _ in 0..AHEAD {
            prefetch();
        }
        let mut product = FieldVector::one();
        for group in 0..self.groups {
            for (position, row) in steps[group].rows().iter().enumerate() {
                for (index, pair) in row.as_chunks::<2>().0.iter().enumerate() {
                    prefetch();
                    for (place, step) in pair.iter().enumerate() {
                        let point = if 2 * index < FIRST {
                            step.shared(generator)
                        } else {
                            step.own(&tables[group])
                        };
                        self.points[group][position][2 * index + place].write(point);
                    }
                    self.prefixes[group][position][index].write(product);
                    let difference = self.difference(group, position, LEVELS[0][index]);
                    product = product.mul(&difference);
                }
            }
        }
        product
    }

    /// The product of all differences of x; notes the products on the way.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    fn multiply_up(&mut self, pairs: &[Pair]) -> FieldVector {
        let mut product = FieldVector::one();
        for group in 0..self.groups {
            for position in 0..SPACING {
                for (index, pair) in pairs.iter().enumerate() {
                    self.prefixes[group][position][index].write(product);
                    product = product.mul(&self.difference(group, position, *pair));
                }
            }
        }
        product
    }

    /// The difference of x, or one in lanes that are exceptional already.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    fn difference(&self, group: usize, position: usize, (left, right): Pair) -> FieldVector {
        let left = self.point(group, position, left);
        let right = self.point(group, position, right);
        let difference = right.x.sub_input(&left.x);
        difference.blend(self.exceptional[group], &FieldVector::one())
    }

    /// Does the additions of a level, given the product of the differences of x.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    fn add_level(&mut self, pairs: &[Pair], mut product: FieldVector) {
        if product.zero_lanes() != 0 {
            self.find_exceptional(pairs);
            product = self.multiply_up(pairs);
        }
        let mut inverse = product.invert_lanes();
        for group in (0..self.groups).rev() {
            for position in (0..SPACING).rev() {
                for (index, pair) in pairs.iter().enumerate().rev() {
                    // SAFETY: written for these pairs by `load` or `multiply_up`.
                    let prefix = unsafe { self.prefixes[group][position][index].assume_init_ref() };
                    let own = inverse.mul(prefix);
                    inverse = inverse.mul(&self.difference(group, position, *pair));
                    let (left, right) = self.pair(group, position, *pair);
                    left.add_with_inverse(right, &own);
                }
            }
        }
    }

    /// Notes the lanes in which a difference is zero.
    #[cold]
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    fn find_exceptional(&mut self, pairs: &[Pair]) {
        for group in 0..self.groups {
            for position in 0..SPACING {
                for (left, right) in pairs {
                    let left = self.point(group, position, *left);
                    let right = self.point(group, position, *right);
                    self.exceptional[group] |= right.x.sub(&left.x).zero_lanes();
                }
            }
        }
    }

    /// Multiplies the points at these places by lambda.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    fn apply_endomorphism(&mut self, places: &[usize]) {
        let beta = FieldVector::splat(&FieldElement::BETA);
        for group in 0..self.groups {
            for position in 0..SPACING {
                for place in places {
                    let point = self.point_mut(group, position, *place);
                    point.x = point.x.mul(&beta);
                }
            }
        }
    }
}
