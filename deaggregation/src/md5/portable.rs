//! Four lanes for any processor.

use std::array;

use super::compress::*;

/// An array that compilers keep in a vector register if the processor has any.
type Vector = [u32; WIDTH];

const WIDTH: usize = 4;
/// With more, or wider ones, LLVM 22 no longer finds the vectors, and it takes twice the time.
const VECTORS: usize = 1;

/// Number of messages up to which one after the other is faster, as measured.
pub(super) const MAX_SCALAR_MESSAGES: usize = 1;

define_compress!();

#[inline]
fn splat(value: u32) -> Vector {
    [value; WIDTH]
}

#[inline]
fn add(a: Vector, b: Vector) -> Vector {
    array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
}

#[inline]
fn rotate_left<const LEFT: u32, const RIGHT: u32>(a: Vector) -> Vector {
    a.map(|value| value.rotate_left(LEFT))
}

#[inline]
fn add_f(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, array::from_fn(|lane| d[lane] ^ (b[lane] & (c[lane] ^ d[lane]))))
}

#[inline]
fn add_g(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, array::from_fn(|lane| c[lane] ^ (d[lane] & (b[lane] ^ c[lane]))))
}

#[inline]
fn add_h(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, array::from_fn(|lane| b[lane] ^ c[lane] ^ d[lane]))
}

#[inline]
fn add_i(sum: Vector, b: Vector, c: Vector, d: Vector) -> Vector {
    add(sum, array::from_fn(|lane| c[lane] ^ (b[lane] | !d[lane])))
}

#[inline]
fn load<'m>(quarter: impl Fn(usize) -> &'m [u8; 16]) -> [Vector; 4] {
    let quarters: [[[u8; 4]; 4]; WIDTH] = array::from_fn(|lane| bytemuck::must_cast(*quarter(lane)));
    array::from_fn(|word| array::from_fn(|lane| u32::from_le_bytes(quarters[lane][word])))
}
