//! 16 lanes for little-endian aarch64 processors with NEON.

use std::arch::aarch64::*;

use super::compress::*;

type Vector = uint32x4_t;

const WIDTH: usize = 4;
/// Four vectors fit into the 32 registers. An instruction takes two cycles or more, so fewer would leave processors idle.
const VECTORS: usize = 4;

/// Number of messages up to which one after the other is faster.
///
/// This is an estimate for Neoverse N1 (Graviton2): four vectors take about 18 cycles for a step, and one message takes 5.
pub(super) const MAX_SCALAR_MESSAGES: usize = 3;

define_compress!(#[target_feature(enable = "neon")]);

#[inline]
#[target_feature(enable = "neon")]
fn splat(value: u32) -> Vector {
    vdupq_n_u32(value)
}

#[inline]
#[target_feature(enable = "neon")]
fn add(a: Vector, b: Vector) -> Vector {
    vaddq_u32(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(a: Vector) -> Vector {
    vsriq_n_u32::<RIGHT>(vshlq_n_u32::<LEFT>(a), a)
}

#[inline]
#[target_feature(enable = "neon")]
fn add_f(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, vbslq_u32(b, c, d))
}

#[inline]
#[target_feature(enable = "neon")]
fn add_g(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, vbslq_u32(d, b, c))
}

#[inline]
#[target_feature(enable = "neon")]
fn add_h(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, veorq_u32(b, veorq_u32(c, d)))
}

#[inline]
#[target_feature(enable = "neon")]
fn add_i(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, veorq_u32(c, vornq_u32(b, d)))
}

/// Transposes 4 × 4 words.
#[inline]
#[target_feature(enable = "neon")]
fn load<'m>(quarter: impl Fn(usize) -> &'m [u8; 16]) -> [Vector; 4] {
    let row = |lane| bytemuck::must_cast::<[u8; 16], Vector>(*quarter(lane));
    let (row0, row1, row2, row3) = (row(0), row(1), row(2), row(3));
    let even01 = vreinterpretq_u64_u32(vtrn1q_u32(row0, row1));
    let odd01 = vreinterpretq_u64_u32(vtrn2q_u32(row0, row1));
    let even23 = vreinterpretq_u64_u32(vtrn1q_u32(row2, row3));
    let odd23 = vreinterpretq_u64_u32(vtrn2q_u32(row2, row3));
    [
        vreinterpretq_u32_u64(vtrn1q_u64(even01, even23)),
        vreinterpretq_u32_u64(vtrn1q_u64(odd01, odd23)),
        vreinterpretq_u32_u64(vtrn2q_u64(even01, even23)),
        vreinterpretq_u32_u64(vtrn2q_u64(odd01, odd23)),
    ]
}
