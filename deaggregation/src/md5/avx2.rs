//! 24 lanes for x86-64 processors with AVX2.

use std::arch::x86_64::*;

use super::compress::*;

type Vector = __m256i;

const WIDTH: usize = 8;
/// The states take 12 of the 16 registers, so there is no room for more.
const VECTORS: usize = 3;

/// Number of messages up to which one after the other is faster, as measured.
pub(super) const MAX_SCALAR_MESSAGES: usize = 1;

define_compress!(#[target_feature(enable = "avx2")]);

#[inline]
#[target_feature(enable = "avx2")]
fn splat(value: u32) -> Vector {
    _mm256_set1_epi32(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(a: Vector) -> Vector {
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(a), _mm256_srli_epi32::<RIGHT>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_f(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d))))
}

/// Adds the two halves of G one after the other, because the first does not wait for the step before.
#[inline]
#[target_feature(enable = "avx2")]
fn add_g(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(add(sum, _mm256_andnot_si256(d, c)), _mm256_and_si256(d, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_h(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, _mm256_xor_si256(b, _mm256_xor_si256(c, d)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_i(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    let not_d = _mm256_xor_si256(d, splat(u32::MAX));
    add(sum, _mm256_xor_si256(c, _mm256_or_si256(b, not_d)))
}

/// Transposes 4 × 4 words in each half of the vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn load<'m>(quarter: impl Fn(usize) -> &'m [u8; 16]) -> [Vector; 4] {
    let quarter = |lane| bytemuck::must_cast::<[u8; 16], __m128i>(*quarter(lane));
    let halves = |lane| _mm256_set_m128i(quarter(lane + 4), quarter(lane));
    let (r0, r1, r2, r3) = (halves(0), halves(1), halves(2), halves(3));
    let (low01, high01) = (_mm256_unpacklo_epi32(r0, r1), _mm256_unpackhi_epi32(r0, r1));
    let (low23, high23) = (_mm256_unpacklo_epi32(r2, r3), _mm256_unpackhi_epi32(r2, r3));
    [
        _mm256_unpacklo_epi64(low01, low23),
        _mm256_unpackhi_epi64(low01, low23),
        _mm256_unpacklo_epi64(high01, high23),
        _mm256_unpackhi_epi64(high01, high23),
    ]
}
