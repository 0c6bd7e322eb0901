// The n greatest entries of each row of U Yᵀ + 1 bᵀ, twin of src/lamina/kernels/top_n.py.
//
// A tile of scores stays in registers: only those greater than the worst of the best so far are looked
// at, and only then is it asked whether they are excluded. The best are kept in a heap, the worst of
// them at its root.
#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "arrays.h"
#include "lanes.h"
#include "matrix.h"
#include "threads.h"
#include "workspace.h"

namespace lamina {
namespace {

constexpr int WIDTH = 2 * LANES;      // items of a panel
constexpr int64_t MOST_AT_ONCE = 96;  // rows of U that go through Y together
constexpr float NONE = -std::numeric_limits<float>::infinity();

struct Find {
  float score;
  int32_t id;
};
bool is_better(const Find& a, const Find& b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

// The best of one row so far.
class Best {
 public:
  void begin(int64_t most, const int32_t* first, const int32_t* last) {
    most_ = most, worst_ = NONE, finds_.clear(), sorted_.clear();
    first_ = first, last_ = last;
    if (std::is_sorted(first, last)) return;
    sorted_.assign(first, last);
    std::sort(sorted_.begin(), sorted_.end());
    first_ = sorted_.data(), last_ = first_ + sorted_.size();
  }

  // What a score must exceed; of equal scores the first comes earlier.
  float worst() const { return worst_; }

  void offer(float score, int32_t id) {
    if (!(score > worst_) || std::binary_search(first_, last_, id)) return;
    if (int64_t(finds_.size()) == most_) {
      std::pop_heap(finds_.begin(), finds_.end(), is_better);
      finds_.pop_back();
    }
    finds_.push_back({score, id});
    std::push_heap(finds_.begin(), finds_.end(), is_better);
    if (int64_t(finds_.size()) == most_) worst_ = finds_.front().score;
  }

  void write(int32_t* ids, float* scores) {
    std::sort_heap(finds_.begin(), finds_.end(), is_better);
    std::fill_n(ids, most_, -1);
    std::fill_n(scores, most_, NONE);
    for (const Find& find : finds_) *ids++ = find.id, *scores++ = find.score;
  }

 private:
  int64_t most_;
  float worst_;
  const int32_t *first_, *last_;
  std::vector<Find> finds_;
  std::vector<int32_t> sorted_;
};

struct Items {
  int64_t count, columns;
  const float *panels, *bias;  // panels [panel][column][item]; the bias of what is no item is -inf
  int64_t panel_count() const { return round_up(count, WIDTH) / WIDTH; }
};

void pack(Pool& pool, int64_t threads, const Items& items, const float* Y, float* panels) {
  const int64_t parts = std::min(thread_count(pool, threads), items.panel_count());
  parallel_for(pool, parts, [&](int64_t part) {
    const Rows mine(items.panel_count(), part, parts);
    for (int64_t p = mine.begin; p < mine.end; p++) {
      float* panel = panels + p * WIDTH * items.columns;
      for (int64_t i = 0; i < WIDTH; i++) {
        const int64_t item = p * WIDTH + i;
        for (int64_t c = 0; c < items.columns; c++)
          panel[c * WIDTH + i] = item < items.count ? Y[item * items.columns + c] : 0.0f;
      }
    }
  });
}

// Offer the items of a panel to R rows.
template <int R>
void score(const Items& items, int64_t panel, const float* U, Best* best) {
  Vector tile[R][2];
  load_tile(tile, items.bias + panel * WIDTH, 0);
  multiply_add<R, 2>(tile, U, items.columns, 1, items.panels + panel * WIDTH * items.columns, WIDTH,
                     items.columns);
  for (int r = 0; r < R; r++) {
    const float worst = best[r].worst();
    if (!any_above(tile[r][0], worst) && !any_above(tile[r][1], worst)) continue;
    float scores[WIDTH];
    store(scores, tile[r][0]), store(scores + LANES, tile[r][1]);
    for (int i = 0; i < WIDTH; i++) best[r].offer(scores[i], int32_t(panel * WIDTH + i));
  }
}

Status find(Pool pool, Array U, Array Y, Lengths indptr, Lengths indices, Array bias,
            ffi::ResultBuffer<ffi::S32> ids, Result scores, int64_t threads) {
  const int64_t rows = U.dimensions()[0], columns = U.dimensions()[1], n = ids->dimensions()[1];
  const bool excludes = indices.element_count() > 0;
  const auto* starts = reinterpret_cast<const int64_t*>(indptr.typed_data());
  const int32_t* excluded = indices.typed_data();
  if (excludes) {
    bool sound = starts[0] >= 0 && starts[rows] <= int64_t(indices.element_count());
    for (int64_t u = 0; u < rows; u++) sound &= starts[u] <= starts[u + 1];
    if (!sound) return Status::InvalidArgument("exclude is not the structure of a sparse matrix");
  }
  Items items{Y.dimensions()[0], columns, nullptr, nullptr};
  Workspace work;
  const int64_t padded = items.panel_count() * WIDTH;
  float *panels = work.take(padded * columns), *biases = work.take_zeros(padded);
  if (bias.element_count()) memcpy(biases, bias.typed_data(), items.count * 4);
  std::fill(biases + items.count, biases + padded, NONE);
  items.panels = panels, items.bias = biases;
  pack(pool, threads, items, Y.typed_data(), panels);

  constexpr int HEIGHT = TILE_ROWS<2>;
  const int64_t workers = thread_count(pool, threads);
  const int64_t together = std::clamp<int64_t>((rows + workers - 1) / workers, 1, MOST_AT_ONCE);
  const int64_t parts = std::min(workers, (rows + together - 1) / together);
  std::atomic<int64_t> next{0};
  parallel_for(pool, parts, [&](int64_t) {
    std::vector<Best> best(together);
    for (int64_t first; (first = next.fetch_add(together)) < rows;) {
      const int64_t count = std::min(together, rows - first);
      for (int64_t i = 0; i < count; i++) {
        const int64_t u = first + i;
        best[i].begin(n, excludes ? excluded + starts[u] : nullptr,
                      excludes ? excluded + starts[u + 1] : nullptr);
      }
      for (int64_t panel = 0; panel < items.panel_count(); panel++)
        for_tiles<HEIGHT>(count, [&](auto R, int64_t i) {
          score<R>(items, panel, U.typed_data() + (first + i) * columns, best.data() + i);
        });
      for (int64_t i = 0; i < count; i++)
        best[i].write(ids->typed_data() + (first + i) * n, scores->typed_data() + (first + i) * n);
    }
  });
  return Status::Success();
}

}  // namespace

}  // namespace lamina

EXPORT(top_n, lamina::bound(lamina::find, "threads"))
