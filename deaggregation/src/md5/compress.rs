//! The compression function of MD5, written once for vectors of any width.

/// 64 bytes, the unit in which MD5 reads a message.
pub(super) type Block = [u8; 64];

/// The chaining values A, B, C and D, each for all lanes.
pub(super) type States<const LANES: usize> = [[u32; LANES]; 4];

/// The chaining values before the first block of a message.
pub(super) const INITIAL_STATE: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The constants of the 64 steps: step `i` has the integer part of 2^32 · |sin(i + 1)|.
#[rustfmt::skip]
pub(super) const STEP_CONSTANTS: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// Defines `LANES` and `compress` in a module that has vectors and their operations.
///
/// This is a macro, because functions of a trait cannot have the target features with which vector instructions are safe. The
/// module contains, besides `use super::compress::*`:
///
/// - `Vector`, a type for `WIDTH` lanes.
/// - `VECTORS`, the number of vectors to work on in turn. Each step of MD5 waits for the result of the step before, and the
///   processor works on other vectors meanwhile.
/// - `splat`, `add` and `rotate_left::<LEFT, RIGHT>`, where `RIGHT` is 32 − `LEFT`: operations on all lanes of a vector.
/// - `add_f`, `add_g`, `add_h` and `add_i`: the sum of the first argument and one of the functions F, G, H and I of RFC 1321
///   of the others.
/// - `load`: four words of each lane, given a quarter of a block of each.
macro_rules! define_compress {
    ($(#[$target_feature:meta])?) => {
        /// Number of messages in progress.
        pub(super) const LANES: usize = VECTORS * WIDTH;

        /// Updates the state of each lane with its blocks. All lanes must have the same number of blocks.
        $(#[$target_feature])?
        pub(super) fn compress(states: &mut States<LANES>, blocks: &[&[Block]; LANES]) {
            let [mut a, mut b, mut c, mut d]: [[Vector; VECTORS]; 4] = bytemuck::must_cast(*states);
            for index in 0..blocks[0].len() {
                let (a_before, b_before, c_before, d_before) = (a, b, c, d);
                let mut words = [[splat(0); 16]; VECTORS];
                // Words are loaded just before their first use, so that the processor loads during the steps.
                load_quarter!(words, blocks, index, 0);
                steps!(add_f, [a b c d], words, [0 1 2 3], [7 12 17 22], 0);
                load_quarter!(words, blocks, index, 1);
                steps!(add_f, [a b c d], words, [4 5 6 7], [7 12 17 22], 4);
                load_quarter!(words, blocks, index, 2);
                steps!(add_f, [a b c d], words, [8 9 10 11], [7 12 17 22], 8);
                load_quarter!(words, blocks, index, 3);
                steps!(add_f, [a b c d], words, [12 13 14 15], [7 12 17 22], 12);

                steps!(add_g, [a b c d], words, [1 6 11 0], [5 9 14 20], 16);
                steps!(add_g, [a b c d], words, [5 10 15 4], [5 9 14 20], 20);
                steps!(add_g, [a b c d], words, [9 14 3 8], [5 9 14 20], 24);
                steps!(add_g, [a b c d], words, [13 2 7 12], [5 9 14 20], 28);

                steps!(add_h, [a b c d], words, [5 8 11 14], [4 11 16 23], 32);
                steps!(add_h, [a b c d], words, [1 4 7 10], [4 11 16 23], 36);
                steps!(add_h, [a b c d], words, [13 0 3 6], [4 11 16 23], 40);
                steps!(add_h, [a b c d], words, [9 12 15 2], [4 11 16 23], 44);

                steps!(add_i, [a b c d], words, [0 7 14 5], [6 10 15 21], 48);
                steps!(add_i, [a b c d], words, [12 3 10 1], [6 10 15 21], 52);
                steps!(add_i, [a b c d], words, [8 15 6 13], [6 10 15 21], 56);
                steps!(add_i, [a b c d], words, [4 11 2 9], [6 10 15 21], 60);
                for vector in 0..VECTORS {
                    a[vector] = add(a[vector], a_before[vector]);
                    b[vector] = add(b[vector], b_before[vector]);
                    c[vector] = add(c[vector], c_before[vector]);
                    d[vector] = add(d[vector], d_before[vector]);
                }
            }
            *states = bytemuck::must_cast([a, b, c, d]);
        }
    };
}

/// Loads a quarter of the words of each lane.
macro_rules! load_quarter {
    ($words:ident, $blocks:ident, $index:ident, $quarter:literal) => {
        for (vector, words) in $words.iter_mut().enumerate() {
            let lanes: &[&[Block]] = &$blocks[vector * WIDTH..][..WIDTH];
            let four_words = load(|lane| &quarters(&lanes[lane][$index])[$quarter]);
            words[4 * $quarter..][..4].copy_from_slice(&four_words);
        }
    };
}

/// Takes four steps, each of which replaces another chaining value.
macro_rules! steps {
    (
        $add_function:ident, [$a:ident $b:ident $c:ident $d:ident], $words:ident,
        [$word0:literal $word1:literal $word2:literal $word3:literal],
        [$shift0:literal $shift1:literal $shift2:literal $shift3:literal], $first:literal
    ) => {
        step!($add_function, [$a $b $c $d], $words, $word0, $shift0, $first);
        step!($add_function, [$d $a $b $c], $words, $word1, $shift1, $first + 1);
        step!($add_function, [$c $d $a $b], $words, $word2, $shift2, $first + 2);
        step!($add_function, [$b $c $d $a], $words, $word3, $shift3, $first + 3);
    };
}

/// Takes one step in all vectors.
macro_rules! step {
    (
        $add_function:ident, [$a:ident $b:ident $c:ident $d:ident], $words:ident, $word:literal, $shift:literal,
        $step:expr
    ) => {
        let constant = splat(STEP_CONSTANTS[$step]);
        for vector in 0..VECTORS {
            let sum = add(add($a[vector], $words[vector][$word]), constant);
            let sum = $add_function(sum, $b[vector], $c[vector], $d[vector]);
            $a[vector] = add(rotate_left::<$shift, { 32 - $shift }>(sum), $b[vector]);
        }
    };
}

pub(super) use {define_compress, load_quarter, step, steps};

/// Returns the quarters of a block, of four words each.
#[inline]
pub(super) fn quarters(block: &Block) -> &[[u8; 16]; 4] {
    bytemuck::must_cast_ref(block)
}
