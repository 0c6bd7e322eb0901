// Batch normalisation, forward and backward: the twin of `batch_norm` in src/lamina/kernels/normalization.py.
//
// Over the cells of all rows, with a row's weight w (1 where none is given), N = Σ w and G = dA:
//
//   μ = Σ w x / N    v = Σ w (x - μ)² / N    r = (v + ε)^(-1/2)    x̂ = r (x - μ)    A = gain x̂ + shift
//   dgain = Σ G x̂    dshift = Σ G            dX = gain r (G - w (dshift + x̂ dgain) / N)
//
// Source: Ioffe and Szegedy 2015, algorithm 1 and section 3. Each direction reads X twice: mean and sum of
// squares come from one pass, block by block, the block around its own mean, and are joined without
// cancellation (Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm", equation 2.1):
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

  // Call f(channel, lanes) for each vector of channels.
  template <class F>
  INLINE void for_channels(F f) const {
    for (int64_t c = 0; c < channels; c += LANES) f(c, channels - c);
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
    batch.for_channels([&](int64_t c, int64_t lanes) {
      const float* from = batch.X + cell * batch.channels + c;
      const Vector from_pivot = load(pivot + c);
      Vector sum = {}, squares = {};
      for (int64_t i = 0; i < count; i++) sum += load_lanes(from + i * batch.channels, lanes) - from_pivot;
      const Vector mean = sum / float(count);
      for (int64_t i = 0; i < count; i++) {
        const Vector centred = load_lanes(from + i * batch.channels, lanes) - from_pivot - mean;
        squares += centred * centred;
      }
      of.join(double(w) * count, c, mean, squares * w);
    });
    of.count += double(w) * count;
  });
}

// A of some rows.
void normalise(const Batch& batch, const Rows& rows, const float* mean, const float* scale,
               const float* shift, float* A) {
  batch.for_blocks(rows, [&](float w, int64_t cell, int64_t count) {
    float* to = A + cell * batch.channels;
    if (!(w > 0)) {
      std::fill_n(to, count * batch.channels, 0.0f);
      return;
    }
    const float* from = batch.X + cell * batch.channels;
    for (int64_t i = 0; i < count; i++)
      batch.for_channels([&](int64_t c, int64_t lanes) {
        const int64_t at = i * batch.channels + c;
        store_lanes(to + at,
                    (load_lanes(from + at, lanes) - load(mean + c)) * load(scale + c) + load(shift + c),
                    lanes);
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
               Result variance, Result r, float epsilon, int64_t limit) {
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
    batch.for_channels([&](int64_t c, int64_t) {
      all.join(parts[i].count, c, load(parts[i].mean + c), load(parts[i].squares + c));
    });
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
  parallel_for(pool, threads, [&](int64_t i) {
    normalise(batch, Rows(batch.rows, i, threads), all.mean, scale, offset, A->typed_data());
  });
  return Status::Success();
}

// What the backward rule reads, vectors padded.
struct Saved {
  const float *dA, *mean, *r;
};

// Add Σ G x̂ and Σ G over some rows.
void add_sums(const Batch& batch, const Rows& rows, const Saved& s, float* dgain, float* dshift) {
  batch.for_blocks(rows, [&](float w, int64_t cell, int64_t count) {
    if (!(w > 0)) return;
    batch.for_channels([&](int64_t c, int64_t lanes) {
      const Vector mean = load(s.mean + c);
      Vector with_x = {}, alone = {};
      for (int64_t i = 0; i < count; i++) {
        const int64_t at = (cell + i) * batch.channels + c;
        const Vector G = load_lanes(s.dA + at, lanes);
        with_x += G * (load_lanes(batch.X + at, lanes) - mean), alone += G;
      }
      store(dgain + c, load(dgain + c) + with_x * load(s.r + c));
      store(dshift + c, load(dshift + c) + alone);
    });
  });
}

// dX of some rows = scale (G - w (offset + (x - μ) slope)), where scale = gain r and both others hold 1 / N.
void image_gradient(const Batch& batch, const Rows& rows, const Saved& s, const float* scale,
                    const float* offset, const float* slope, float* dX) {
  batch.for_blocks(rows, [&](float w, int64_t cell, int64_t count) {
    const int64_t begin = cell * batch.channels;
    if (!(w > 0)) {
      std::fill_n(dX + begin, count * batch.channels, 0.0f);
      return;
    }
    for (int64_t i = 0; i < count; i++)
      batch.for_channels([&](int64_t c, int64_t lanes) {
        const int64_t at = begin + i * batch.channels + c;
        const Vector centred = load_lanes(batch.X + at, lanes) - load(s.mean + c);
        const Vector through = (load(offset + c) + centred * load(slope + c)) * w;
        store_lanes(dX + at, (load_lanes(s.dA + at, lanes) - through) * load(scale + c), lanes);
      });
  });
}

Status backward(Pool pool, Array X, Array gain, Array weight, Array mean, Array r, Array dA, Result dX,
                Result dgain, Result dshift, int64_t limit) {
  const Batch batch(X, weight);
  Workspace work;
  const int64_t threads = batch.threads(pool, limit), padding = batch.padded();
  const Saved saved{dA.typed_data(), padded(work, batch, mean, 0.0f), padded(work, batch, r, 0.0f)};
  float *sums = work.take_zeros(2 * threads * padding), *scale = padded(work, batch, gain, 1.0f);
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
    dgain->typed_data()[c] = sums[c], dshift->typed_data()[c] = sums[padding + c];
    offset[c] = sums[padding + c] / float(N > 0 ? N : 1);
    slope[c] = sums[c] / float(N > 0 ? N : 1) * saved.r[c];
    scale[c] *= saved.r[c];
  }
  parallel_for(pool, threads, [&](int64_t i) {
    image_gradient(batch, Rows(batch.rows, i, threads), saved, scale, offset, slope, dX->typed_data());
  });
  return Status::Success();
}

}  // namespace

}  // namespace lamina

EXPORT(batch_norm_forward, lamina::bound(lamina::forward, "epsilon", "threads"))
EXPORT(batch_norm_backward, lamina::bound(lamina::backward, "threads"))
