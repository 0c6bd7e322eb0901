// The product of bfloat16 matrices at the heart of half precision: tiles of 16 rows of 64 bytes.
//
// A tile is 16 x 16 floats of the result, 16 rows x 32 halves of the left-hand matrix, or 16 pairs of
// rows x 16 columns of the right-hand one, packed beforehand: entry (2 p + e, j) at 32 p + 2 j + e. Sums
// are floats. R x V tiles of the result are in work at once.
//
// By the tile registers of AMX or, where the compiler is not told of them, by plain C++ that does what they
// do, rounding for rounding: so the kernels are tested on processors that lack AMX. Source: Intel 64 and
// IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS; volume 1, chapter 18.
// (AVX-512's own `vdpbf16ps` was measured to multiply half as many numbers a second as floats do.)
#pragma once

#include "half.h"

namespace lamina {

static_assert(LANES == 16, "half precision is written for vectors as wide as a tile's rows");
constexpr int64_t SIDE = 16;              // rows of a tile
constexpr int64_t DEPTH = 32;             // rows of the right-hand matrix in a tile
constexpr int64_t PACKED = SIDE * DEPTH;  // halves in a tile

#if defined(__AMX_BF16__)

// While it lives, this thread's tile registers are as the products need them: one at a time. Sums are
// registers 0 to 3, operands 4 to 7. (Intrinsics would want each number written out.)
template <int R, int V>
class Tiles {
  static_assert(R * V <= 4 && R <= 2);

 public:
  Tiles() {
    struct alignas(64) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } layout;
    for (int i = 0; i < 8; i++) layout.row_bytes[i] = 64, layout.rows[i] = SIDE;
    asm volatile("ldtilecfg %0" ::"m"(layout));
  }
  Tiles(const Tiles&) = delete;
  ~Tiles() { asm volatile("tilerelease"); }

  INLINE void clear() {
    each([](auto, auto, auto tile) { asm volatile("tilezero %%tmm%c0" ::"i"(int(tile))); });
  }
  INLINE void load(const float* from, int64_t stride) {
    each(
        [=](auto r, auto v, auto tile) { load_tile<tile>(from + r * SIDE * stride + v * SIDE, stride * 4); });
  }
  INLINE void store(float* to, int64_t stride) const {
    each([=](auto r, auto v, auto tile) {
      asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(int(tile)), "r"(to + r * SIDE * stride + v * SIDE),
                   "r"(stride * 4)
                   : "memory");
    });
  }

  INLINE void multiply_add(const Half* A, int64_t stride, const Half* B, int64_t step, int64_t depth) {
    for (int64_t k = 0; k < depth; k += DEPTH, B += step) {
      load_tile<4>(A + k, stride * 2);
      if constexpr (R == 2) load_tile<5>(A + SIDE * stride + k, stride * 2);
      each_number<V>([&](auto v) {
        constexpr int right = 6 + v % 2;
        load_tile<right>(B + v * PACKED, 64);
        each_number<R>([&](auto r) {
          asm volatile("tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(right), "i"(4 + int(r)),
                       "i"(int(r) * V + int(v)));
        });
      });
    }
  }

 private:
  template <int TILE>
  static INLINE void load_tile(const void* from, int64_t bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(bytes), "i"(TILE) : "memory");
  }
  template <int N, class F, int I = 0>
  static INLINE void each_number(F f) {
    if constexpr (I < N) f(std::integral_constant<int, I>{}), each_number<N, F, I + 1>(f);
  }
  template <class F>
  static INLINE void each(F f) {
    each_number<R>([&](auto r) {
      each_number<V>([&](auto v) { f(r, v, std::integral_constant<int, int(r) * V + int(v)>{}); });
    });
  }
};

#else

// The same with the sums in memory: nearest to the processor, as they are always in use.
template <int R, int V>
class Tiles {
 public:
  // All sums are zero.
  void clear() { memset(sums_, 0, sizeof sums_); }
  // The sums are those at `from`, whose rows are `stride` apart.
  void load(const float* from, int64_t stride) {
    for (int64_t row = 0; row < R * SIDE; row++) memcpy(sums_[row], from + row * stride, V * SIDE * 4);
  }
  void store(float* to, int64_t stride) const {
    for (int64_t row = 0; row < R * SIDE; row++) memcpy(to + row * stride, sums_[row], V * SIDE * 4);
  }

  // The sums += A B over `depth` rows of B, a multiple of DEPTH: A's rows are `stride` apart; for each
  // DEPTH rows B has V packed tiles, `step` after those before.
  void multiply_add(const Half* A, int64_t stride, const Half* B, int64_t step, int64_t depth) {
    for (int64_t row = 0; row < R * SIDE; row += ROWS)
      for (int v = 0; v < V; v++) {
        Vector sums[ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) sums[r] = lamina::load(sums_[row + r] + v * SIDE);
        for (int64_t k = 0; k < depth; k += DEPTH)
          add_tile(sums, A + row * stride + k, stride, B + k / DEPTH * step + v * PACKED);
        UNROLL for (int r = 0; r < ROWS; r++) lamina::store(sums_[row + r] + v * SIDE, sums[r]);
      }
  }

 private:
  static constexpr int ROWS = 8;  // of sums in registers
  alignas(64) float sums_[R * SIDE][V * SIDE];

  static INLINE int32_t pair_at(const Half* at) {
    int32_t pair;
    memcpy(&pair, at, 4);
    return pair;
  }

  // As AMX: products of even and of odd numbers are summed apart, each from zero, then added to the sums.
  // That numbers too small to be normal are zero is `parallel_for`'s part.
  static INLINE void add_tile(Vector (&sums)[ROWS], const Half* A, int64_t stride, const Half* B) {
    Vector even[ROWS] = {}, odd[ROWS] = {};
    for (int p = 0; p < SIDE; p++) {
      Integers b;
      memcpy(&b, B + p * DEPTH, sizeof b);
      UNROLL for (int r = 0; r < ROWS; r++) {
        const Integers a = Integers{} + pair_at(A + r * stride + 2 * p);
        even[r] += (Vector)(a << 16) * (Vector)(b << 16);
        odd[r] += (Vector)(a & ~0xffff) * (Vector)(b & ~0xffff);
      }
    }
    UNROLL for (int r = 0; r < ROWS; r++) sums[r] += even[r] + odd[r];
  }
};

#endif

}  // namespace lamina
