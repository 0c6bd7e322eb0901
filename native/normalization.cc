// Batch normalisation, forward and backward: the twin of `batch_norm` in src/lamina/kernels/normalization.py.
//
// Over the cells of all rows, with a row's weight w (1 where none is given), N = Σ w and G = dA:
//
//   μ = Σ w x / N    v = Σ w (x - μ)² / N    r = (v + ε)^(-1/2)    x̂ = r (x - μ)    A = gain x̂ + shift
//   dgain = Σ G x̂    dshift = Σ G            dX = gain r (G - w (dshift + x̂ dgain) / N)
//
// With relu after it, A is made once more from X, and G is dA where A > 0. Source: Ioffe and Szegedy 2015,
// algorithm 1 and section 3. Each direction reads X twice, the second time from its end: what was read last
// may still be in the cache. Mean and sum of squares come from one pass, block by block, the block around its
// own mean, and are joined without cancellation (Chan, Golub and LeVeque 1979, "Updating formulae and a
// pairwise algorithm", equation 2.1):
//
//   M = M_a + M_b + (μ_b - μ_a)² N_a N_b / N        μ = μ_a + (μ_b - μ_a) N_b / N
//
// and all are of x less the first cell that counts, so that a large μ costs v no digits.
#include <cmath>

#include "arrays.h"
#include "matrix.h"
#include "threads.h"
#include "workspace.h"

namespace lamina {
namespace {

constexpr int64_t BLOCK_NUMBERS = 1 << 12;   // of X in work at a time: in the nearest cache
constexpr int64_t THREAD_NUMBERS = 1 << 15;  // what is worth another thread

// X as rows of cells of channels.
struct Batch {
  const float *X, *weight;  // weight null for 1 each
  int64_t rows, cells, channels;
  Batch(const Array& X, const Array& weight) : X(X.typed_data()) {
    const auto shape = X.dimensions();
    this->weight = weight.element_count() ? weight.typed_data() : nullptr;
    rows = shape[0], channels = shape.back(), cells = 1;
    for (size_t axis = 1; axis + 1 < shape.size(); axis++) cells *= shape[axis];
  }
  float weight_of(int64_t row) const { return weight ? weight[row] : 1.0f; }
  int64_t padded() const { return round_up(channels, LANES); }
  int64_t threads(Pool pool, int64_t limit) const {
    return std::clamp<int64_t>(rows * cells * channels / THREAD_NUMBERS, 1, thread_count(pool, limit));
  }

  // Call f(weight, first cell, count) for the cells of some rows, in blocks of one row's cells each,
  // or of many rows' where they weigh the same.
  template <class F>
  void for_blocks(const Rows& own, F f) const {
    const int64_t most = std::max<int64_t>(1, BLOCK_NUMBERS / channels);
    for (int64_t row = own.begin; row < own.end;) {
      int64_t last = row + 1;
      while (last < own.end && weight_of(last) == weight_of(row)) last++;
      for (int64_t cell = row * cells; cell < last * cells; cell += most)
        f(weight_of(row), cell, std::min(most, last * cells - cell));
      row = last;
    }
  }

  // The same from the last block to the first.
  template <class F>
  void for_blocks_backwards(const Rows& own, F f) const {
    const int64_t most = std::max<int64_t>(1, BLOCK_NUMBERS / channels);
    for (int64_t end = own.end; end > own.begin;) {
      int64_t row = end - 1;
      while (row > own.begin && weight_of(row - 1) == weight_of(row)) row--;
      for (int64_t cell = end * cells; cell > row * cells;) {
        const int64_t count = std::min(most, cell - row * cells);
        f(weight_of(row), cell -= count, count);
      }
      end = row;
    }
  }

  // Call f(V, channel, lanes) for V vectors of channels from one on: four, or one, which may be part of one.
  template <class F>
  INLINE void for_channels(F f) const {
    int64_t c = 0;
    for (; c + 4 * LANES <= channels; c += 4 * LANES) f(std::integral_constant<int, 4>{}, c, 4 * LANES);
    for (; c < channels; c += LANES) f(std::integral_constant<int, 1>{}, c, channels - c);
  }
};

// Count, means less a pivot, and sums of squares around them.
struct Moments {
  double count;
  float *mean, *squares;

  // Take others in, whose `count` and vectors are told.
  void join(double other, int64_t c, Vector mean_b, Vector squares_b) const {
    const float share = float(other / (count + other)), both = float(count * (other / (count + other)));
    const Vector apart = mean_b - load(mean + c);
    store(mean + c, load(mean + c) + apart * share);
    store(squares + c, load(squares + c) + squares_b + apart * apart * both);
  }
};

// The first cell of a row that counts; zeros where none does.
const float* pivot(Workspace& work, const Batch& batch) {
  float* found = work.take_zeros(batch.padded());
  int64_t row = 0;
  while (row < batch.rows && !(batch.weight_of(row) > 0)) row++;
  if (row < batch.rows && batch.cells > 0)
    memcpy(found, batch.X + row * batch.cells * batch.channels, batch.channels * 4);
  return found;
}

// The moments of some rows.
void add_moments(const Batch& batch, const Rows& rows, const float* pivot, Moments& of) {
  batch.for_blocks(rows, [&](float w, int64_t cell, int64_t count) {
    if (!(w > 0)) return;
    batch.for_channels([&](auto width, int64_t c, int64_t lanes) {
      constexpr int V = width;
      const float* from = batch.X + cell * batch.channels + c;
      Vector first[V], sum[V] = {}, squares[V] = {};
      UNROLL for (int v = 0; v < V; v++) first[v] = load(pivot + c + v * LANES);
      for (int64_t i = 0; i < count; i++, from += batch.channels)
        UNROLL for (int v = 0; v < V; v++) sum[v] +=
            load_lanes(from + v * LANES, lanes - v * LANES) - first[v];
      UNROLL for (int v = 0; v < V; v++) sum[v] /= float(count);
      for (int64_t i = 0; i < count; i++) {
        from -= batch.channels;
        UNROLL for (int v = 0; v < V; v++) {
          const Vector centred = load_lanes(from + v * LANES, lanes - v * LANES) - first[v] - sum[v];
          squares[v] += centred * centred;
        }
      }
      UNROLL for (int v = 0; v < V; v++) of.join(double(w) * count, c + v * LANES, sum[v], squares[v] * w);
    });
    of.count += double(w) * count;
  });
}

// A = (x - μ) scale + shift, where scale = gain r, or relu of it; vectors padded to whole ones.
struct Map {
  const float *mean, *scale, *shift;
  bool relu;
  INLINE Vector operator()(Vector x, int64_t c) const {
    return (x - load(mean + c)) * load(scale + c) + load(shift + c);
  }
};

// A of some rows.
void normalise(const Batch& batch, const Rows& rows, const Map& map, float* A) {
  batch.for_blocks_backwards(rows, [&](float w, int64_t cell, int64_t count) {
    float* to = A + cell * batch.channels;
    if (!(w > 0)) {
      std::fill_n(to, count * batch.channels, 0.0f);
      return;
    }
    const float* from = batch.X + cell * batch.channels;
    for (int64_t i = 0; i < count; i++)
      batch.for_channels([&](auto width, int64_t c, int64_t lanes) {
        constexpr int V = width;
        UNROLL for (int v = 0; v < V; v++) {
          const int64_t at = i * batch.channels + c + v * LANES;
          const Vector a = map(load_lanes(from + at, lanes - v * LANES), c + v * LANES);
          store_lanes(to + at, map.relu ? relu(a) : a, lanes - v * LANES);
        }
      });
  });
}

// `values`, or `otherwise` where there are none, padded to whole vectors.
float* padded(Workspace& work, const Batch& batch, const Array& values, float otherwise) {
  float* to = work.take(batch.padded());
  std::fill_n(to, batch.padded(), otherwise);
  if (values.element_count()) memcpy(to, values.typed_data(), batch.channels * 4);
  return to;
}

// Write A, the mean and the variance, and r for the backward rule.
Status forward(Pool pool, Array X, Array gain, Array shift, Array weight, Result A, Result mean,
               Result variance, Result r, float epsilon, bool relu, int64_t limit) {
  const Batch batch(X, weight);
  Workspace work;
  const int64_t threads = batch.threads(pool, limit), padding = batch.padded();
  const float* first = pivot(work, batch);
  std::vector<Moments> parts;
  for (int64_t i = 0; i < threads; i++)
    parts.push_back({0, work.take_zeros(padding), work.take_zeros(padding)});
  parallel_for(pool, threads,
               [&](int64_t i) { add_moments(batch, Rows(batch.rows, i, threads), first, parts[i]); });
  Moments& all = parts[0];
  for (int64_t i = 1; i < threads; i++) {
    if (parts[i].count == 0) continue;
    for (int64_t c = 0; c < padding; c += LANES)
      all.join(parts[i].count, c, load(parts[i].mean + c), load(parts[i].squares + c));
    all.count += parts[i].count;
  }
  float* scale = padded(work, batch, gain, 1.0f);
  const float* offset = padded(work, batch, shift, 0.0f);
  for (int64_t c = 0; c < batch.channels; c++) {
    all.mean[c] += first[c];
    const float v = all.squares[c] / float(all.count > 0 ? all.count : 1);
    mean->typed_data()[c] = all.mean[c], variance->typed_data()[c] = v;
    r->typed_data()[c] = 1.0f / std::sqrt(v + epsilon);
    scale[c] *= r->typed_data()[c];
  }
  const Map map{all.mean, scale, offset, relu};
  parallel_for(pool, threads,
               [&](int64_t i) { normalise(batch, Rows(batch.rows, i, threads), map, A->typed_data()); });
  return Status::Success();
}

// What the backward rule reads.
struct Saved {
  const float* dA;
  Map map;
  // G of LANES channels or fewer from `c` on, at X's number `at`, of which x is read.
  INLINE Vector gradient(Vector x, int64_t at, int64_t c, int64_t lanes) const {
    const Vector G = load_lanes(dA + at, lanes);
    return !map.relu || map(x, c) > 0.0f ? G : Vector{};
  }
};

// Add Σ G (x - μ) and Σ G over some rows.
void add_sums(const Batch& batch, const Rows& rows, const Saved& s, float* with_x, float* alone) {
  batch.for_blocks(rows, [&](float w, int64_t cell, int64_t count) {
    if (!(w > 0)) return;
    batch.for_channels([&](auto width, int64_t c, int64_t lanes) {
      constexpr int V = width;
      Vector x_sum[V] = {}, sum[V] = {};
      for (int64_t i = 0; i < count; i++) UNROLL for (int v = 0; v < V; v++) {
          const int64_t channel = c + v * LANES, at = (cell + i) * batch.channels + channel;
          const Vector x = load_lanes(batch.X + at, lanes - v * LANES);
          const Vector G = s.gradient(x, at, channel, lanes - v * LANES);
          x_sum[v] += G * (x - load(s.map.mean + channel)), sum[v] += G;
        }
      UNROLL for (int v = 0; v < V; v++) {
        const int64_t channel = c + v * LANES;
        store(with_x + channel, load(with_x + channel) + x_sum[v]);
        store(alone + channel, load(alone + channel) + sum[v]);
      }
    });
  });
}

// dX of some rows = scale (G - w (offset + (x - μ) slope)), where both others hold 1 / N.
void image_gradient(const Batch& batch, const Rows& rows, const Saved& s, const float* offset,
                    const float* slope, float* dX) {
  batch.for_blocks_backwards(rows, [&](float w, int64_t cell, int64_t count) {
    const int64_t begin = cell * batch.channels;
    if (!(w > 0)) {
      std::fill_n(dX + begin, count * batch.channels, 0.0f);
      return;
    }
    for (int64_t i = 0; i < count; i++)
      batch.for_channels([&](auto width, int64_t first, int64_t lanes) {
        constexpr int V = width;
        UNROLL for (int v = 0; v < V; v++) {
          const int64_t c = first + v * LANES, at = begin + i * batch.channels + c;
          const Vector x = load_lanes(batch.X + at, lanes - v * LANES);
          const Vector through = (load(offset + c) + (x - load(s.map.mean + c)) * load(slope + c)) * w;
          const Vector G = s.gradient(x, at, c, lanes - v * LANES);
          store_lanes(dX + at, (G - through) * load(s.map.scale + c), lanes - v * LANES);
        }
      });
  });
}

Status backward(Pool pool, Array X, Array gain, Array shift, Array weight, Array mean, Array r, Array dA,
                Result dX, Result dgain, Result dshift, bool relu, int64_t limit) {
  const Batch batch(X, weight);
  Workspace work;
  const int64_t threads = batch.threads(pool, limit), padding = batch.padded();
  float *sums = work.take_zeros(2 * threads * padding), *scale = padded(work, batch, gain, 1.0f);
  for (int64_t c = 0; c < batch.channels; c++) scale[c] *= r.typed_data()[c];
  const Map map{padded(work, batch, mean, 0.0f), scale, padded(work, batch, shift, 0.0f), relu};
  const Saved saved{dA.typed_data(), map};
  parallel_for(pool, threads, [&](int64_t i) {
    add_sums(batch, Rows(batch.rows, i, threads), saved, sums + 2 * i * padding,
             sums + (2 * i + 1) * padding);
  });
  for (int64_t i = 1; i < threads; i++)
    for (int64_t c = 0; c < 2 * padding; c++) sums[c] += sums[2 * i * padding + c];
  double N = 0;
  for (int64_t row = 0; row < batch.rows; row++) N += double(batch.weight_of(row)) * batch.cells;
  float *offset = work.take_zeros(padding), *slope = work.take_zeros(padding);
  for (int64_t c = 0; c < batch.channels; c++) {
    const float r_c = r.typed_data()[c];
    dgain->typed_data()[c] = sums[c] * r_c, dshift->typed_data()[c] = sums[padding + c];
    offset[c] = sums[padding + c] / float(N > 0 ? N : 1);
    slope[c] = sums[c] / float(N > 0 ? N : 1) * r_c * r_c;
  }
  parallel_for(pool, threads, [&](int64_t i) {
    image_gradient(batch, Rows(batch.rows, i, threads), saved, offset, slope, dX->typed_data());
  });
  return Status::Success();
}

}  // namespace

}  // namespace lamina

EXPORT(batch_norm_forward, lamina::bound(lamina::forward, "epsilon", "relu", "threads"))
EXPORT(batch_norm_backward, lamina::bound(lamina::backward, "relu", "threads"))
