// The weights of a recurrent layer in bfloat16 as products of tiles read them, and their gradients back as
// users see them: panels.h has those in float32, and the groups and slots of both.
//
// A step is one product of [h x], each padded to whole blocks, with [W_h; W_x], in which a slot that does not
// see h or x has zeros.
#pragma once

#include "half_panels.h"
#include "panels.h"

namespace lamina {

constexpr int64_t GROUP = SLOTS * PACKED;  // halves in the packed tiles of all slots

// Where h and x stand in an operand, and how many columns all slots of all groups are.
struct Widths {
  int64_t h, all, slots;
  explicit Widths(const Sizes& size)
      : h(round_up(size.padded, DEPTH)), all(h + round_up(size.inputs, DEPTH)), slots(size.slots) {}
};

// W (rows, gates * units) into panels [group][block of rows][slot], from row `begin` on.
template <class Cell, int FIRST, int COUNT>
void pack_rows(Half* panels, const Half* W, int64_t rows, int64_t begin, const Sizes& size, int64_t all) {
  const int64_t width = Cell::GATES * size.units;
  for (int64_t p = 0; p < size.groups; p++)
    for_slots<Cell>(p, FIRST, COUNT, size.units, [&](int slot, int64_t column, int64_t count) {
      for (int64_t k = 0; k < rows; k += 2) {
        const int64_t block = (p * all + begin + k) / DEPTH;
        const Half* from = W + k * width + column;
        store_pairs(panels + block * GROUP + (FIRST + slot) * PACKED + k % DEPTH * SIDE,
                    load_halves(from, count), k + 1 < rows ? load_halves(from + width, count) : Halves{});
      }
    });
}

// Wᵀ, whose columns are W's rows, packed as [64 columns][block of slots' lanes][16 columns].
template <class Cell, int FIRST, int COUNT>
const Half* pack_turned(Workspace& work, const Half* W, int64_t outputs, const Sizes& size) {
  const int64_t width = Cell::GATES * size.units, count = round_up(outputs, 4 * SIDE) * size.slots;
  Half* panels = take_halves(work, count);
  std::fill_n(panels, count, Half(0));
  for (int64_t output = 0; output < outputs; output++)
    for (int64_t p = 0; p < size.groups; p++)
      for_slots<Cell>(p, FIRST, COUNT, size.units, [&](int slot, int64_t column, int64_t lanes) {
        for (int64_t lane = 0; lane < lanes; lane++) {
          const int64_t k = p * SLOT_LANES + (FIRST + slot) * LANES + lane;
          const int64_t tile = (output / (4 * SIDE) * size.slots + k / DEPTH * DEPTH) / DEPTH * SLOTS +
                               output % (4 * SIDE) / SIDE;
          panels[tile * PACKED + k % DEPTH / 2 * DEPTH + output % SIDE * 2 + k % 2] =
              W[output * width + column + lane];
        }
      });
  return panels;
}

// dW (rows, gates * units) = the threads' sums from row `begin` on.
template <class Cell>
void gather(Half* dW, int64_t rows, int64_t begin, int first, int count, const Sizes& size, int64_t all,
            const std::vector<const float*>& sums) {
  const int64_t width = Cell::GATES * size.units;
  for (int64_t p = 0; p < size.groups; p++)
    for_slots<Cell>(p, first, count, size.units, [&](int slot, int64_t column, int64_t lanes) {
      for (int64_t k = 0; k < rows; k++) {
        const int64_t at = ((p * all + begin + k) * SLOTS + first + slot) * LANES;
        Vector sum = {};
        for (const float* part : sums) sum += load(part + at);
        store_halves(dW + k * width + column, rounded(sum), lanes);
      }
    });
}

}  // namespace lamina
