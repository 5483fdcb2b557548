//! 32 lanes for x86-64 processors with AVX-512.

use std::arch::x86_64::*;

use super::compress::*;

type Vector = __m512i;

const WIDTH: usize = 16;
/// Three are no faster, as measured, and more lanes are idle when the last messages are in progress.
const VECTORS: usize = 2;

/// Number of messages up to which one after the other is faster, as measured.
pub(super) const MAX_SCALAR_MESSAGES: usize = 1;

define_compress!(#[target_feature(enable = "avx512f")]);

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(value: u32) -> Vector {
    _mm512_set1_epi32(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(a: Vector) -> Vector {
    _mm512_rol_epi32::<LEFT>(a)
}

/// Adds F by its truth table: bit `4 * b + 2 * c + d` is its value for these bits of the arguments.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_f(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, _mm512_ternarylogic_epi32::<0b1100_1010>(b, c, d))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_g(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, _mm512_ternarylogic_epi32::<0b1110_0100>(b, c, d))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_h(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, _mm512_ternarylogic_epi32::<0b1001_0110>(b, c, d))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_i(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, _mm512_ternarylogic_epi32::<0b0011_1001>(b, c, d))
}

/// Transposes 4 × 4 words in each quarter of the vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn load<'m>(quarter: impl Fn(usize) -> &'m [u8; 16]) -> [Vector; 4] {
    let quarter = |lane| bytemuck::must_cast::<[u8; 16], __m128i>(*quarter(lane));
    let quarters = |lane| {
        let vector = _mm512_castsi128_si512(quarter(lane));
        let vector = _mm512_inserti32x4::<1>(vector, quarter(lane + 4));
        let vector = _mm512_inserti32x4::<2>(vector, quarter(lane + 8));
        _mm512_inserti32x4::<3>(vector, quarter(lane + 12))
    };
    let (r0, r1, r2, r3) = (quarters(0), quarters(1), quarters(2), quarters(3));
    let (low01, high01) = (_mm512_unpacklo_epi32(r0, r1), _mm512_unpackhi_epi32(r0, r1));
    let (low23, high23) = (_mm512_unpacklo_epi32(r2, r3), _mm512_unpackhi_epi32(r2, r3));
    [
        _mm512_unpacklo_epi64(low01, low23),
        _mm512_unpackhi_epi64(low01, low23),
        _mm512_unpacklo_epi64(high01, high23),
        _mm512_unpackhi_epi64(high01, high23),
    ]
}
