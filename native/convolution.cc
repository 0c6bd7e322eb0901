// A = pool(σ(X ∗ W + b)), forward and backward: the twin of src/lamina/kernels/convolution.py.
//
// With dY the gradient by X ∗ W + b, which reaches the cells that won, or gave, in their pooling window
// (pooling.h):
//
//   dW_t = sum over cells x of X[x + offset_t]ᵀ dY[x]      db = sum over cells of dY
//   dX[x] = sum over taps t of dY[x - offset_t] W_tᵀ       (Goodfellow et al., Deep Learning, 9.5)
//
// σ is relu or linear. Threads take strips of images: a strip with the zeros around it is copied to
// memory of the thread's own, where taps are runs (taps.h); what is between the convolution and the
// pooling stays in the cache, and of it only a byte a window is kept: the winner's place, or who gave. A
// stride s splits dX into s phases, each a convolution of dY by those taps that meet it.
#include "pooling.h"
#include "strips.h"

namespace lamina {
namespace {

constexpr int64_t SLACK = 4 * LANES;  // numbers that may be read beyond the last, and are not used

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0); }

struct Forward {
  const Sizes& size;
  Filters filters;
  bool relu, average;
  const float *X, *b;  // b null where there is none
  float* A;
  uint8_t* places;                 // of winners, or bits of givers; null where nobody asks
  std::vector<ptrdiff_t> offsets;  // of the cells of a pooling window in a thread's rows

  int64_t cell() const { return filters.groups * filters.padded(); }  // numbers
  int64_t row() const { return size.cells().right * cell(); }
};

// Numbers `at` to `at` + LANES, or fewer, of each pooled cell of a row: pool, add the bias, apply σ.
template <int CELLS, bool AVERAGE>
void finish(const Forward& f, const float* z, Vector b, int64_t at, int64_t lanes) {
  const ptrdiff_t* offsets = f.offsets.data();
  const int cells = int(f.offsets.size());
  const int64_t step = f.size.pool.right * f.cell();
  for (int64_t x = 0; x < f.size.pooled.right; x++, z += step, at += f.size.filters) {
    Integers place;
    const auto cell = [&](int i) { return load(z + offsets[i]); };
    store_lanes(f.A + at, pooled<CELLS>(AVERAGE, f.relu, cell, cells, b, place), lanes);
    if (f.places) store_bytes(f.places + at, place, lanes);
  }
}

// One row of A from the rows z of X ∗ W.
void finish_row(const Forward& f, const float* z, int64_t row) {
  const Filters& filters = f.filters;
  const size_t cells = f.offsets.size();
  const auto of_maxima = cells == 1 ? finish<1, false> : cells == 4 ? finish<4, false> : finish<0, false>;
  const auto finish_lanes = !f.average ? of_maxima : cells == 4 ? finish<4, true> : finish<0, true>;
  for (int64_t g = 0; g < filters.groups; g++)
    for (int64_t first = 0; first < filters.outputs; first += LANES) {
      const int64_t lanes = std::min<int64_t>(LANES, filters.outputs - first);
      const int64_t filter = g * filters.outputs + first;
      const int64_t at = row * f.size.pooled.right * f.size.filters + filter;
      const Vector b = f.b ? load_lanes(f.b + filter, lanes) : Vector{};
      finish_lanes(f, z + g * filters.padded() + first, b, at, lanes);
    }
}

void forward_strip(const Forward& f, const Strip& strip, float* image, float* z) {
  const Sizes& size = f.size;
  const int64_t row = size.width() * size.channels;
  copy_strip(size, f.X, strip, image);
  for (int64_t y = 0; y < strip.rows(); y++) {
    for (int64_t i = 0; i < size.pool.down; i++)
      convolve_row(f.filters, image + (y * size.pool.down + i) * size.stride.down * row,
                   size.stride.right * size.channels, z + i * f.row(), f.cell(), f.filters.padded(),
                   size.cells().right);
    finish_row(f, z, strip.image * size.pooled.down + strip.begin + y);
  }
}

// Write A, and the winners' places or givers' bits unless `places` is empty.
Status forward(Pool pool, Array X, Array W, Array b, Result A, PlacesResult places, Numbers stride,
               Numbers dilation, Numbers origin, Numbers window, int64_t groups, bool relu, bool average,
               int64_t threads) {
  const Sizes size(X, W, size_of_images(A->dimensions()), stride, dilation, origin, window, groups);
  if (A->element_count() == 0) return Status::Success();
  Workspace work;
  Forward f{size,
            forward_filters(size),
            relu,
            average,
            X.typed_data(),
            b.element_count() ? b.typed_data() : nullptr,
            A->typed_data(),
            places->element_count() ? places->typed_data() : nullptr,
            {}};
  pack(work, f.filters, W.typed_data(), size.layout(false));
  for (int64_t i = 0; i < size.pool.down; i++)
    for (int64_t j = 0; j < size.pool.right; j++) f.offsets.push_back(i * f.row() + j * f.cell());
  const int64_t row = size.width() * size.channels;
  const Strips strips(size, thread_count(pool, threads), row * size.stride.down * size.pool.down);
  std::vector<float*> images, products;
  for (int64_t i = 0; i < strips.threads; i++) {
    images.push_back(work.take(size.rows_seen(strips.most_rows() * size.pool.down) * row + SLACK));
    products.push_back(work.take(size.pool.down * f.row()));
  }
  strips.for_all(
      pool, [&](int64_t thread, Strip strip) { forward_strip(f, strip, images[thread], products[thread]); });
  return Status::Success();
}

// The cells of dX that the same taps meet, `stride` apart along one axis: from `first` on, `count` of
// them; cell first + k stride is met by cell `source` + k of dY and those before it.
struct Phase {
  int64_t first, count, source;
  Phase(int64_t phase, int64_t stride, int64_t origin, int64_t cells) {
    first = phase - origin - floor_divide(phase - origin, stride) * stride;
    count = std::max<int64_t>(0, (cells - first + stride - 1) / stride);
    source = floor_divide(first + origin, stride);
  }
};

// One phase down and right, and the filters turned for it.
struct Turned {
  Phase down, right;
  Filters filters;
};

struct Backward {
  const Sizes& size;
  Filters filters;
  bool relu, average;
  const float *X, *A, *dA;
  const uint8_t* places;
  float* dX;  // null where it is not wanted
  bool wants_dW;
  std::vector<Turned> turned;        // one for each phase
  Pair before{0, 0};                 // zeros, or rows of the strip before, around dY for dX
  int64_t width = 0;                 // of dY with them
  int64_t below = 0, above = 0;      // rows of dY outside of the image that dX sees
  std::vector<ptrdiff_t> offsets{};  // of the cells of a pooling window in dY

  int64_t row() const { return width * size.filters; }
};

// What a thread works with; its sums, packed as the filters, and db padded to whole vectors.
struct Scratch {
  float *image, *dY, *dW, *db;
};

// The taps that meet cells of one phase, in the order of their offsets in dY.
Filters turned_filters(const Backward& b, Pair phase) {
  const Sizes& s = b.size;
  std::vector<Tap> taps;
  for (int64_t i = s.window.down - 1; i >= 0; i--)
    for (int64_t j = s.window.right - 1; j >= 0; j--) {
      const int64_t down = i * s.dilation.down, right = j * s.dilation.right;
      if (down % s.stride.down == phase.down && right % s.stride.right == phase.right)
        taps.push_back({{i, j}, -(down / s.stride.down * b.row() + right / s.stride.right * s.filters)});
    }
  if (s.depthwise()) return {1, 1, s.channels, true, taps};
  return {s.groups, s.made(), s.seen(), false, taps};
}

// How many cells before a cell of dX taps reach in dY, and the last that dX sees.
int64_t reach(int64_t window, int64_t dilation, int64_t stride) { return (window - 1) * dilation / stride; }
int64_t last_seen(int64_t cells, int64_t origin, int64_t stride) {
  return floor_divide(cells - 1 + origin, stride);
}

// Prepare what the backward rule by the image needs.
void turn(Workspace& work, Backward& b, const float* W) {
  const Sizes& s = b.size;
  b.before = {round_up(reach(s.window.down, s.dilation.down, s.stride.down), s.pool.down),
              reach(s.window.right, s.dilation.right, s.stride.right)};
  b.above = round_up(std::max<int64_t>(0, -floor_divide(s.origin.down, s.stride.down)), s.pool.down);
  b.below = std::max<int64_t>(0, last_seen(s.image.down, s.origin.down, s.stride.down) + 1 - s.cells().down);
  b.before.right += std::max<int64_t>(0, -floor_divide(s.origin.right, s.stride.right));
  const int64_t last = last_seen(s.image.right, s.origin.right, s.stride.right);
  b.width = b.before.right + std::max(s.cells().right, last + 1);
  for (int64_t i = 0; i < s.stride.down; i++)
    for (int64_t j = 0; j < s.stride.right; j++) {
      const Phase down(i, s.stride.down, s.origin.down, s.image.down);
      const Phase right(j, s.stride.right, s.origin.right, s.image.right);
      if (down.count == 0 || right.count == 0) continue;
      b.turned.push_back({down, right, turned_filters(b, {i, j})});
      pack(work, b.turned.back().filters, W, s.layout(true));
    }
}

// Rows of dY: [begin, end) are the strip's, of which db and dW are made, [first, last) what dX sees.
struct GradientRows {
  int64_t begin, end, first, last;
  GradientRows(const Backward& b, const Strip& strip) {
    begin = strip.begin * b.size.pool.down, end = strip.end * b.size.pool.down;
    first = begin - b.before.down - (begin == 0 ? b.above : 0);
    last = end + (end == b.size.cells().down ? b.below : 0);
  }
};

// A row of dA, LANES filters or fewer, to the cells of dY that won; returns the sum over the cells.
// `at` is where the row begins in dA; CELLS as in `pooled`.
template <int CELLS>
Vector spread(const Backward& b, int64_t at, int64_t lanes, float* to) {
  const int cells = CELLS ? CELLS : int(b.offsets.size());
  const ptrdiff_t* offsets = b.offsets.data();
  const int64_t filters = b.size.filters, step = b.size.pool.right * filters;
  Vector sum = {};
  for (int64_t x = 0; x < b.size.pooled.right; x++, at += filters, to += step) {
    const Vector dA = load_lanes(b.dA + at, lanes);
    const Integers place = load_bytes(b.places + at, lanes);
    UNROLL for (int cell = 0; cell < cells; cell++)
        store_lanes(to + offsets[cell], share(false, true, dA, place, cell, cells), lanes);
    sum += place == NOWHERE ? Vector{} : dA;
  }
  return sum;
}

// The same for means: each cell takes its share, with relu where it gave to the mean.
template <bool RELU>
Vector spread_mean(const Backward& b, int64_t at, int64_t lanes, float* to) {
  const int cells = int(b.offsets.size());
  const int64_t filters = b.size.filters, step = b.size.pool.right * filters;
  Vector sum = {};
  for (int64_t x = 0; x < b.size.pooled.right; x++, at += filters, to += step) {
    const Vector dA = load_lanes(b.dA + at, lanes);
    const Integers gave = RELU ? load_bytes(b.places + at, lanes) : Integers{};
    for (int cell = 0; cell < cells; cell++) {
      const Vector dY = share(true, RELU, dA, gave, cell, cells);
      store_lanes(to + b.offsets[cell], dY, lanes);
      sum += dY;
    }
  }
  return sum;
}

// The same where nothing is pooled.
template <bool RELU>
Vector spread_plainly(const Backward& b, int64_t at, int64_t lanes, float* to) {
  const int64_t filters = b.size.filters;
  Vector sum = {};
  for (int64_t x = 0; x < b.size.pooled.right; x++, at += filters, to += filters) {
    Vector dY = load_lanes(b.dA + at, lanes);
    if (RELU) dY = load_lanes(b.A + at, lanes) > 0.0f ? dY : Vector{};
    store_lanes(to, dY, lanes);
    sum += dY;
  }
  return sum;
}

// The rows of dY, from `to` on, of one row of dA; their sum is added to db unless that is null.
void spread_row(const Backward& b, int64_t row, float* to, float* db) {
  const Sizes& s = b.size;
  const auto spread_lanes = b.average               ? (b.relu ? spread_mean<true> : spread_mean<false>)
                            : !b.places             ? (b.relu ? spread_plainly<true> : spread_plainly<false>)
                            : b.offsets.size() == 4 ? spread<4>
                                                    : spread<0>;
  for (int64_t i = 0; i < s.pool.down; i++) {
    const int64_t begin = i * b.row() + b.before.right * s.filters;
    std::fill(to + i * b.row(), to + begin, 0.0f);
    std::fill(to + begin + s.cells().right * s.filters, to + (i + 1) * b.row(), 0.0f);
  }
  for (int64_t k = 0; k < s.filters; k += LANES) {
    const int64_t at = row * s.pooled.right * s.filters + k, lanes = std::min<int64_t>(LANES, s.filters - k);
    const Vector sum = spread_lanes(b, at, lanes, to + b.before.right * s.filters + k);
    if (db) store(db + k, load(db + k) + sum);
  }
}

// Write the rows of dY that a strip needs, zero outside of the image, and add its own to db.
void fill_gradient(const Backward& b, const Strip& strip, const GradientRows& rows, const Scratch& scratch) {
  const Sizes& s = b.size;
  const auto row = [&](int64_t y) { return scratch.dY + (y - rows.first) * b.row(); };
  const int64_t first = std::max<int64_t>(0, rows.first);
  std::fill(row(rows.first), row(first), 0.0f);
  for (int64_t y = first / s.pool.down; y < strip.end; y++)
    spread_row(b, strip.image * s.pooled.down + y, row(y * s.pool.down),
               y < strip.begin ? nullptr : scratch.db);
  std::fill(row(rows.end), row(rows.last), 0.0f);
}

// The cells of dX that begin at the rows of a strip, from its rows of dY.
void image_gradient(const Backward& b, const Strip& strip, const GradientRows& rows, const float* dY) {
  const Sizes& s = b.size;
  float* dX = b.dX + strip.image * s.image.down * s.image.right * s.channels;
  for (const Turned& t : b.turned) {
    const int64_t begin = rows.begin == 0 ? rows.begin - b.above : rows.begin;
    for (int64_t source = std::max(begin, t.down.source); source < rows.last; source++) {
      const int64_t k = source - t.down.source;
      if (k >= t.down.count) break;
      const int64_t y = t.down.first + k * s.stride.down;
      const float* from =
          dY + (source - rows.first) * b.row() + (t.right.source + b.before.right) * s.filters;
      convolve_row(t.filters, from, s.filters, dX + (y * s.image.right + t.right.first) * s.channels,
                   s.stride.right * s.channels, t.filters.outputs, t.right.count);
    }
  }
}

void backward_strip(const Backward& b, const Strip& strip, const Scratch& scratch) {
  const Sizes& s = b.size;
  const GradientRows rows(b, strip);
  fill_gradient(b, strip, rows, scratch);
  if (b.wants_dW) {
    copy_strip(s, b.X, strip, scratch.image);
    const int64_t row = s.width() * s.channels;
    const float* dY = scratch.dY + (rows.begin - rows.first) * b.row() + b.before.right * s.filters;
    const Sweep sweep{scratch.image, s.stride.right * s.channels, s.stride.down * row, dY, s.filters,
                      b.row(),       rows.end - rows.begin,       s.cells().right};
    add_weight_gradients(b.filters, sweep, scratch.dW);
  }
  if (b.dX) image_gradient(b, strip, rows, scratch.dY);
}

// Call `backward_strip` on all strips; write the threads' sums to dW and db, each null if not wanted.
void backward_sums(Pool pool, Workspace& work, const Backward& b, int64_t threads, float* dW, float* db) {
  const Sizes& s = b.size;
  const int64_t row = s.width() * s.channels;
  const Strips strips(s, threads, (row * s.stride.down + b.row()) * s.pool.down);
  const int64_t most = strips.most_rows() * s.pool.down;
  std::vector<Scratch> scratch;
  std::vector<float*> all_dW;
  for (int64_t i = 0; i < strips.threads; i++) {
    scratch.push_back({work.take(dW ? s.rows_seen(most) * row + SLACK : 0),
                       work.take((most + b.before.down + b.above + b.below) * b.row() + SLACK),
                       work.take_zeros(dW ? b.filters.numbers() : 0),
                       work.take_zeros(round_up(s.filters, LANES))});
    all_dW.push_back(scratch[i].dW);
  }
  strips.for_all(pool, [&](int64_t thread, Strip strip) { backward_strip(b, strip, scratch[thread]); });
  if (dW)
    parallel_for(pool, b.filters.taps.size(), strips.threads,
                 [&](int64_t t) { unpack_sum(b.filters, t, all_dW, dW, s.layout(false)); });
  for (int64_t k = 0; db && k < s.filters; k++) {
    db[k] = 0;
    for (const Scratch& of : scratch) db[k] += of.db[k];
  }
}

// The gradients of `forward`: A is read for relu without pooling, `places` with it; dX and dW may be
// empty, and are then not computed.
Status backward(Pool pool, Array X, Array W, Array A, Places places, Array dA, Result dX, Result dW,
                Result db, Numbers stride, Numbers dilation, Numbers origin, Numbers window, int64_t groups,
                bool relu, bool average, int64_t threads) {
  const Sizes size(X, W, size_of_images(dA.dimensions()), stride, dilation, origin, window, groups);
  Workspace work;
  Backward b{size,
             forward_filters(size),
             relu,
             average,
             X.typed_data(),
             A.typed_data(),
             dA.typed_data(),
             places.element_count() ? places.typed_data() : nullptr,
             dX->element_count() ? dX->typed_data() : nullptr,
             dW->element_count() > 0,
             {}};
  b.width = size.cells().right;
  if (b.dX) turn(work, b, W.typed_data());
  for (int64_t i = 0; i < size.pool.down; i++)
    for (int64_t j = 0; j < size.pool.right; j++) b.offsets.push_back(i * b.row() + j * size.filters);
  backward_sums(pool, work, b, thread_count(pool, threads), b.wants_dW ? dW->typed_data() : nullptr,
                db->element_count() ? db->typed_data() : nullptr);
  return Status::Success();
}

}  // namespace

}  // namespace lamina

#define ATTRIBUTES "stride", "dilation", "origin", "window", "groups", "relu", "average", "threads"
EXPORT(convolution_forward, lamina::bound(lamina::forward, ATTRIBUTES))
EXPORT(convolution_backward, lamina::bound(lamina::backward, ATTRIBUTES))
