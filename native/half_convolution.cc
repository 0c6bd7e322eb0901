// A = pool(σ(X ∗ W + b)) in bfloat16, forward and backward: the twin of src/lamina/kernels/convolution.py.
// convolution.cc is the one in float32, and has the equations.
//
// Some hundred cells at a time become the rows of a matrix of patches P, and with the filters as a matrix
//
//   X ∗ W = P W      dW = Pᵀ dY      dP = dY Wᵀ, added up in dX      (Chellapilla et al. 2006)
//
// Products are of bfloat16 numbers; their sums, and those of dX, dW and db, are floats, rounded at the end. σ
// is relu or linear. Threads take images; of what is pooled a byte a window is kept, as in convolution.cc.
#include "half_panels.h"
#include "pooling.h"
#include "strips.h"

namespace lamina {
namespace {

constexpr int64_t BLOCK_NUMBERS = 1 << 18;  // about what P may hold: half a megabyte
constexpr int64_t FEWEST_CELLS = 64, MOST_CELLS = 512;

// Images [first, first + count), and pooled rows [begin, end) of each.
struct Block {
  int64_t first, count, begin, end;
};

// What both directions share. A group's filters are a matrix (depth, made), padded to whole blocks.
struct Problem {
  Sizes size;
  bool relu, average;
  const Half *X, *W;
  int64_t depth, padded_depth, padded_made, row_cells, images, rows;  // images or rows in work at a time

  Problem(const Sizes& size, bool relu, bool average, const Half* X, const Half* W)
      : size(size), relu(relu), average(average), X(X), W(W) {
    depth = size.window.down * size.window.right * size.seen();
    padded_depth = round_up(depth, DEPTH), padded_made = round_up(size.made(), DEPTH);
    row_cells = size.pool.down * size.cells().right;
    const int64_t cells = std::clamp(BLOCK_NUMBERS / padded_depth, FEWEST_CELLS, MOST_CELLS);
    images = std::max<int64_t>(1, cells / std::max<int64_t>(1, row_cells * size.pooled.down));
    rows = std::clamp<int64_t>(cells / std::max<int64_t>(1, row_cells), 1, size.pooled.down);
  }
  int64_t most_cells() const {
    return round_up(images * (images > 1 ? size.pooled.down : rows) * row_cells, DEPTH);
  }
  int64_t cells(const Block& block) const { return block.count * (block.end - block.begin) * row_cells; }
  int64_t image_numbers() const { return size.image.down * size.image.right * size.channels; }
  int64_t threads(Pool& pool, int64_t limit) const {
    return std::clamp<int64_t>(std::min(size.images, size.products() / THREAD_PRODUCTS), 1,
                               thread_count(pool, limit));
  }

  // Call f(block) for the blocks of some images; blocks of one image follow each other.
  template <class F>
  void for_blocks(const Rows& own, F f) const {
    for (int64_t first = own.begin; first < own.end; first += images)
      for (int64_t begin = 0; begin < size.pooled.down; begin += images > 1 ? size.pooled.down : rows)
        f(Block{first, std::min(images, own.end - first), begin,
                images > 1 ? size.pooled.down : std::min(begin + rows, size.pooled.down)});
  }

  // Call f(cell's number in the block, image, row, column) for the cells of X ∗ W in a block.
  template <class F>
  INLINE void for_cells(const Block& block, F f) const {
    int64_t cell = 0;
    for (int64_t image = block.first; image < block.first + block.count; image++)
      for (int64_t y = block.begin * size.pool.down; y < block.end * size.pool.down; y++)
        for (int64_t x = 0; x < size.cells().right; x++) f(cell++, image, y, x);
  }

  // Call f(pooled cell's number in A, number in the block of its window's first cell).
  template <class F>
  INLINE void for_pooled(const Block& block, F f) const {
    int64_t window = 0;
    for (int64_t image = block.first; image < block.first + block.count; image++)
      for (int64_t y = block.begin; y < block.end; y++, window += row_cells)
        for (int64_t x = 0; x < size.pooled.right; x++)
          f((image * size.pooled.down + y) * size.pooled.right + x, window + x * size.pool.right);
  }

  // Call f(column of P, cell of the image or -1) for the taps of a window, of which `group` sees part.
  template <class F>
  INLINE void for_taps(int64_t y, int64_t x, F f) const {
    int64_t column = 0;
    for (int64_t i = 0; i < size.window.down; i++)
      for (int64_t j = 0; j < size.window.right; j++, column += size.seen()) {
        const int64_t row = y * size.stride.down - size.origin.down + i * size.dilation.down;
        const int64_t at = x * size.stride.right - size.origin.right + j * size.dilation.right;
        const bool inside = row >= 0 && row < size.image.down && at >= 0 && at < size.image.right;
        f(column, inside ? row * size.image.right + at : -1);
      }
  }

  // The patches of a block, rows of P; rows beyond are zero up to a whole block.
  void see_patches(const Block& block, int64_t group, Half* P) const {
    const int64_t seen = size.seen();
    for_cells(block, [&](int64_t cell, int64_t image, int64_t y, int64_t x) {
      const Half* from = X + image * image_numbers() + group * seen;
      for_taps(y, x, [&](int64_t column, int64_t at) {
        Half* to = P + cell * padded_depth + column;
        if (at >= 0)
          memcpy(to, from + at * size.channels, seen * 2);
        else
          memset(to, 0, seen * 2);
      });
    });
    const int64_t count = cells(block);
    memset(P + count * padded_depth, 0, (round_up(count, DEPTH) - count) * padded_depth * 2);
  }

  // The filters of a group, padded and packed, or turned and packed.
  const Half* pack_filters(Pool& pool, int64_t limit, Workspace& work, int64_t group, bool turned) const {
    Half* matrix = take_halves(work, padded_depth * padded_made);
    for (int64_t k = 0; k < padded_depth; k++)
      copy_row(matrix + k * padded_made, W + k * size.filters + group * size.made(),
               k < depth ? size.made() : 0, padded_made);
    return pack(pool, limit, work, {matrix, padded_depth, padded_made}, turned);
  }

  // Where the cells of a pooling window stand from its first, in rows of `width` numbers.
  std::vector<ptrdiff_t> offsets(int64_t width) const {
    std::vector<ptrdiff_t> found;
    for (int64_t i = 0; i < size.pool.down; i++)
      for (int64_t j = 0; j < size.pool.right; j++) found.push_back((i * size.cells().right + j) * width);
    return found;
  }
};

struct Forward {
  const Half* b;  // null where there is none
  Half* A;
  uint8_t* places;  // of winners, or bits of givers; null where nobody asks
};

// A of the pooled cells of a block, from the rows z of X ∗ W of one group.
void finish(const Problem& p, const Forward& f, const Block& block, int64_t group, const float* z) {
  const std::vector<ptrdiff_t> offsets = p.offsets(p.padded_made);
  const int cells = int(offsets.size());
  for (int64_t c = 0; c < p.size.made(); c += LANES) {
    const int64_t lanes = p.size.made() - c, filter = group * p.size.made() + c;
    const Vector b = f.b ? widened(load_halves(f.b + filter, lanes)) : Vector{};
    p.for_pooled(block, [&](int64_t at, int64_t first) {
      const float* from = z + first * p.padded_made + c;
      Integers place;
      const auto cell = [&](int i) { return load(from + offsets[i]); };
      const Vector a = pooled<0>(p.average, p.relu, cell, cells, b, place);
      store_halves(f.A + at * p.size.filters + filter, rounded(a), lanes);
      if (f.places) store_bytes(f.places + at * p.size.filters + filter, place, lanes);
    });
  }
}

// C (rows, columns), rows `stride` apart, = A B, or with `add` C += A B; B is packed.
void multiply(const Half* A, int64_t depth, const Half* B, int64_t rows, int64_t columns, float* C,
              int64_t stride, bool add, Tiles<2, 2>& tiles) {
  for (int64_t column = 0; column < columns; column += DEPTH)
    for (int64_t row = 0; row < rows; row += DEPTH) {
      float* to = C + row * stride + column;
      if (add)
        tiles.load(to, stride);
      else
        tiles.clear();
      tiles.multiply_add(A + row * depth, depth, B + column * depth, 2 * PACKED, depth);
      tiles.store(to, stride);
    }
}

// Write A, and the winners' places or givers' bits unless `places` is empty.
Status forward(Pool pool, HalfArray X, HalfArray W, HalfArray b, HalfResult A, PlacesResult places,
               Numbers stride, Numbers dilation, Numbers origin, Numbers window, int64_t groups, bool relu,
               bool average, int64_t limit) {
  const Sizes size(X, W, size_of_images(A->dimensions()), stride, dilation, origin, window, groups);
  if (A->element_count() == 0) return Status::Success();
  const Problem p(size, relu, average, X.typed_data(), W.typed_data());
  const Forward f{b.element_count() ? b.typed_data() : nullptr, A->typed_data(),
                  places->element_count() ? places->typed_data() : nullptr};
  Workspace work;
  std::vector<const Half*> filters;
  for (int64_t g = 0; g < groups; g++) filters.push_back(p.pack_filters(pool, limit, work, g, false));
  const int64_t threads = p.threads(pool, limit), most = p.most_cells();
  std::vector<float*> patches, products;
  for (int64_t i = 0; i < threads; i++) {
    patches.push_back(work.take_zeros(most * p.padded_depth / 2));
    products.push_back(work.take(most * p.padded_made));
  }
  parallel_for(pool, threads, [&](int64_t part) {
    Half* P = reinterpret_cast<Half*>(patches[part]);
    Tiles<2, 2> tiles;
    p.for_blocks(Rows(size.images, part, threads), [&](const Block& block) {
      for (int64_t g = 0; g < groups; g++) {
        p.see_patches(block, g, P);
        multiply(P, p.padded_depth, filters[g], round_up(p.cells(block), DEPTH), p.padded_made,
                 products[part], p.padded_made, false, tiles);
        finish(p, f, block, g, products[part]);
      }
    });
  });
  return Status::Success();
}

// What the backward rule reads beside the `Problem`.
struct Backward {
  const Half *A, *dA;  // A is read for relu without pooling
  const uint8_t* places;
  Half* dX;  // null where it is not wanted
  bool wants_dW;
};

// What a thread works with: dY of a block in rows and packed, P in rows and turned, dP, dX of the images in
// work, and its sums.
struct Scratch {
  Half *dY, *packed, *P, *turned;
  float *dP, *dX, *dW, *db;

  Scratch(Workspace& work, const Problem& p, const Backward& b) {
    const int64_t most = p.most_cells(), groups = p.size.groups;
    const auto halves = [&](int64_t count) { return reinterpret_cast<Half*>(work.take_zeros(count / 2)); };
    dY = halves(most * p.padded_made), packed = halves(most * p.padded_made);
    P = halves(b.wants_dW ? most * p.padded_depth : 0),
    turned = halves(b.wants_dW ? most * p.padded_depth : 0);
    dP = work.take(b.dX ? DEPTH * p.padded_depth : 0),
    dX = work.take(b.dX ? p.images * p.image_numbers() : 0);
    dW = work.take_zeros(b.wants_dW ? groups * p.padded_depth * p.padded_made : 0);
    db = work.take_zeros(groups * p.padded_made);
  }
};

// The gradient by the cell of number `cell` in a pooling window, of `lanes` filters from `at` on in dA.
INLINE Vector spread(const Problem& p, const Backward& b, int64_t at, int64_t lanes, int cell, int cells) {
  const Vector dA = widened(load_halves(b.dA + at, lanes));
  if (cells > 1)
    return share(p.average, p.relu, dA, b.places ? load_bytes(b.places + at, lanes) : Integers{}, cell,
                 cells);
  return !p.relu ? dA : widened(load_halves(b.A + at, lanes)) > 0.0f ? dA : Vector{};
}

// dY of a block for one group, zero beyond its cells, and its share of db.
void see_gradient(const Problem& p, const Backward& b, const Block& block, int64_t group, const Scratch& s) {
  const std::vector<ptrdiff_t> offsets = p.offsets(p.padded_made);
  const int cells = int(offsets.size());
  for (int64_t c = 0; c < p.size.made(); c += LANES) {
    const int64_t lanes = p.size.made() - c, filter = group * p.size.made() + c;
    Vector sum = {};
    p.for_pooled(block, [&](int64_t pooled, int64_t first) {
      for (int cell = 0; cell < cells; cell++) {
        const Vector dY = spread(p, b, pooled * p.size.filters + filter, lanes, cell, cells);
        store_halves(s.dY + first * p.padded_made + c + offsets[cell], rounded(dY));
        sum += dY;
      }
    });
    float* db = s.db + group * p.padded_made + c;
    store(db, load(db) + sum);
  }
  const int64_t count = p.cells(block);
  memset(s.dY + count * p.padded_made, 0, (round_up(count, DEPTH) - count) * p.padded_made * 2);
}

// Add dP = dY Wᵀ to the cells of the images that the patches came from, some rows at a time.
void add_patches(const Problem& p, const Block& block, int64_t group, const Half* filters, const Scratch& s,
                 Tiles<2, 2>& tiles) {
  const int64_t seen = p.size.seen();
  p.for_cells(block, [&](int64_t cell, int64_t image, int64_t y, int64_t x) {
    if (cell % DEPTH == 0)
      multiply(s.dY + cell * p.padded_made, p.padded_made, filters, DEPTH, p.padded_depth, s.dP,
               p.padded_depth, false, tiles);
    const float* from = s.dP + cell % DEPTH * p.padded_depth;
    float* dX = s.dX + (image - block.first) * p.image_numbers() + group * seen;
    p.for_taps(y, x, [&](int64_t column, int64_t at) {
      for (int64_t c = 0; at >= 0 && c < seen; c += LANES) {
        float* to = dX + at * p.size.channels + c;
        store_lanes(to, load_lanes(to, seen - c) + load_lanes(from + column + c, seen - c), seen - c);
      }
    });
  });
}

void backward_block(const Problem& p, const Backward& b, const Block& block,
                    const std::vector<const Half*>& filters, const Scratch& s, Tiles<2, 2>& tiles) {
  const int64_t rows = round_up(p.cells(block), DEPTH), image = p.image_numbers();
  if (b.dX && block.begin == 0) std::fill_n(s.dX, block.count * image, 0.0f);
  for (int64_t g = 0; g < p.size.groups; g++) {
    see_gradient(p, b, block, g, s);
    if (b.wants_dW) {
      p.see_patches(block, g, s.P);
      transpose(s.P, p.padded_depth, s.turned, rows, rows, p.padded_depth);
      for (int64_t column = 0; column < p.padded_made; column += DEPTH)
        pack_panel({s.dY, rows, p.padded_made}, false, column, s.packed + column * rows);
      multiply(s.turned, rows, s.packed, p.padded_depth, p.padded_made,
               s.dW + g * p.padded_depth * p.padded_made, p.padded_made, true, tiles);
    }
    if (b.dX) add_patches(p, block, g, filters[g], s, tiles);
  }
  if (!b.dX || block.end < p.size.pooled.down) return;
  for (int64_t i = 0; i < block.count * image; i += LANES)
    store_halves(b.dX + block.first * image + i, rounded(load_lanes(s.dX + i, block.count * image - i)),
                 block.count * image - i);
}

// dW and db, each null if not wanted: the threads' sums, rounded.
void gather(const Problem& p, const std::vector<Scratch>& parts, Half* dW, Half* db) {
  const int64_t made = p.size.made();
  for (int64_t g = 0; g < p.size.groups; g++)
    for (int64_t c = 0; c < made; c += LANES) {
      for (int64_t k = 0; dW && k < p.depth; k++) {
        Vector sum = {};
        for (const Scratch& s : parts) sum += load(s.dW + (g * p.padded_depth + k) * p.padded_made + c);
        store_halves(dW + k * p.size.filters + g * made + c, rounded(sum), made - c);
      }
      Vector sum = {};
      for (const Scratch& s : parts) sum += load(s.db + g * p.padded_made + c);
      if (db) store_halves(db + g * made + c, rounded(sum), made - c);
    }
}

// The gradients of `forward`: A is read for relu without pooling, `places` with it; dX, dW and db may be
// empty, and are then not computed.
Status backward(Pool pool, HalfArray X, HalfArray W, HalfArray A, Places places, HalfArray dA, HalfResult dX,
                HalfResult dW, HalfResult db, Numbers stride, Numbers dilation, Numbers origin,
                Numbers window, int64_t groups, bool relu, bool average, int64_t limit) {
  const Sizes size(X, W, size_of_images(dA.dimensions()), stride, dilation, origin, window, groups);
  const Problem p(size, relu, average, X.typed_data(), W.typed_data());
  const Backward b{A.typed_data(), dA.typed_data(), places.element_count() ? places.typed_data() : nullptr,
                   dX->element_count() ? dX->typed_data() : nullptr, dW->element_count() > 0};
  Workspace work;
  std::vector<const Half*> filters;
  for (int64_t g = 0; b.dX && g < groups; g++) filters.push_back(p.pack_filters(pool, limit, work, g, true));
  const int64_t threads = p.threads(pool, limit);
  std::vector<Scratch> parts;
  for (int64_t i = 0; i < threads; i++) parts.emplace_back(work, p, b);
  parallel_for(pool, threads, [&](int64_t part) {
    Tiles<2, 2> tiles;
    p.for_blocks(Rows(size.images, part, threads),
                 [&](const Block& block) { backward_block(p, b, block, filters, parts[part], tiles); });
  });
  gather(p, parts, b.wants_dW ? dW->typed_data() : nullptr, db->element_count() ? db->typed_data() : nullptr);
  return Status::Success();
}

}  // namespace
}  // namespace lamina

#define ATTRIBUTES "stride", "dilation", "origin", "window", "groups", "relu", "average", "threads"
EXPORT(half_convolution_forward, lamina::bound(lamina::forward, ATTRIBUTES))
EXPORT(half_convolution_backward, lamina::bound(lamina::backward, ATTRIBUTES))
