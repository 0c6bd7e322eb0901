// A = σ(X ∗ W + b), forward and backward, as products of matrices: where channels are deep or images small.
//
// Tiles of the image become the rows V of matrices, by Winograd's algorithm (winograd.h) or as patches
// (patches.h), and with the filters U of the same form
//
//   M = V U, of which Y is made      dU = Vᵀ Z      dV = Z Uᵀ, added up in dX
//
// where Z is the gradient dY in the form of M. Some dozens of tiles are in work at a time, so that what
// lies between stays in the cache. Threads take tiles, or where weights are many, panels of the filters and
// of the channels: then each reads its share of U once, and there is one dU. σ is relu or linear; pooling
// windows of 2×2 results are made within Winograd's tiles (pooling.h). Twin, with convolution.cc, of
// src/lamina/kernels/convolution.py.
#include "patches.h"
#include "pooling.h"
#include "winograd.h"

namespace lamina {
namespace {

constexpr int64_t BLOCK_NUMBERS = 1 << 17;  // about what V may hold: half a megabyte
constexpr int64_t FEWEST_TILES = 32, MOST_TILES = 64;
constexpr int64_t MANY_WEIGHTS = 1 << 20;  // numbers of U beyond a cache: read for more tiles at a time
constexpr int64_t TILES_OF_MANY = 128;
constexpr int64_t PANEL = 4 * LANES;  // columns of the widest panel

// What all calls share. U is packed [position][panel][row][lane].
template <class Form>
struct Problem {
  Form form;
  const float *X, *W, *b;  // b null where there is none
  bool relu, average;
  int64_t depth, filters, block;
  Blocks V, M, U, turned_U;

  Problem(const Form& form, const float* X, const float* W, const float* b, bool relu, bool average)
      : form(form),
        X(X),
        W(W),
        b(b),
        relu(relu),
        average(average),
        depth(form.depth()),
        filters(form.size.filters),
        block(many_weights()
                  ? TILES_OF_MANY
                  : std::clamp(BLOCK_NUMBERS / (Form::POSITIONS * depth), FEWEST_TILES, MOST_TILES)),
        V{block, depth},
        M{block, filters},
        U{depth, filters},
        turned_U{filters, depth} {}

  bool many_weights() const { return Form::POSITIONS * depth * filters > MANY_WEIGHTS; }

  // From one position to the next of a panel of M or dV, V vectors wide.
  ptrdiff_t panel_position(int64_t V) const { return Blocks{block, V * LANES}.numbers(); }

  // Call f(first tile, count) for the blocks of some tiles.
  template <class F>
  void for_blocks(const Rows& tiles, F f) const {
    for (int64_t first = tiles.begin; first < tiles.end; first += block)
      f(first, std::min(block, tiles.end - first));
  }

  void see_tiles(int64_t first, int64_t count, float* to) const {
    for (int64_t t = 0; t < count; t++) form.see_tile(X, first + t, V, to, t);
  }
};

// U, or with its rows and columns exchanged, packed by all threads.
template <class Form>
float* pack(Pool pool, int64_t limit, Workspace& work, const Problem<Form>& p, const Blocks& layout,
            bool turned) {
  const ptrdiff_t row = turned ? 1 : p.filters, lane = turned ? p.filters : 1;
  float* U = work.take(Form::POSITIONS * layout.numbers());
  const int64_t parts = std::clamp<int64_t>(layout.numbers() >> 12, 1, thread_count(pool, limit));
  parallel_for(pool, parts, [&](int64_t part) {
    const Rows rows(layout.rows, part, parts);
    layout.for_vectors([&](int64_t column, int64_t at, ptrdiff_t step) {
      for (int64_t r = rows.begin; r < rows.end; r++)
        p.form.see_filters(p.W + r * row + column * lane, lane,
                           std::min<int64_t>(LANES, layout.columns - column), U + at + r * step,
                           layout.numbers());
    });
  });
  return U;
}

// What is made of X, W and b: A, and of what is pooled what the backward rule needs, null where nobody asks.
struct Made {
  float* A;
  uint8_t* places;
};

// What a panel of M says of A: results of `count` tiles, V vectors of filters from `first` on.
template <int V, class Form>
void finish(const Problem<Form>& p, int64_t tile, int64_t count, int64_t first, const float* M,
            const Made& made) {
  constexpr int CELLS = Form::POOLED;
  const ptrdiff_t position = p.panel_position(V);
  for (int v = 0; v < V; v++) {
    const int64_t filter = first + v * LANES, lanes = p.filters - filter;
    const Vector b = p.b ? load_lanes(p.b + filter, lanes) : Vector{};
    for (int64_t t = 0; t < count; t++) {
      Vector Y[Form::RESULTS];
      p.form.make_results(M + (t * V + v) * LANES, position, Y);
      p.form.for_pooled(tile + t, [&](int i, int64_t at) {
        Integers place;
        const auto cell = [&](int c) { return Y[Form::result(i, c)]; };
        store_lanes(made.A + at + filter, pooled<CELLS>(p.average, p.relu, cell, CELLS, b, place), lanes);
        if (CELLS > 1 && made.places) store_bytes(made.places + at + filter, place, lanes);
      });
    }
  }
}

// What a thread does: some tiles, and of the columns of each matrix that it makes some panels.
struct Share {
  Rows tiles;
  int64_t part, parts;  // of the panels
  bool owns(int64_t first, int64_t columns) const {
    const Rows own((columns + PANEL - 1) / PANEL, part, parts);
    return first >= own.begin * PANEL && first < own.end * PANEL;
  }
};

// How the work on some images is split: by panels of so many columns at least, or else by `units`, as many as
// there may be threads, of `tiles` each.
template <class Form>
std::vector<Share> shares(Pool pool, int64_t limit, const Problem<Form>& p, int64_t columns, int64_t units,
                          int64_t tiles) {
  const int64_t most =
      std::clamp<int64_t>(p.form.size.products() / THREAD_PRODUCTS, 1, thread_count(pool, limit));
  const bool by_panels = p.many_weights() && columns >= most * PANEL;
  const int64_t count = by_panels ? most : std::clamp<int64_t>(units, 1, most);
  std::vector<Share> all;
  for (int64_t i = 0; i < count; i++) {
    Rows own(units, by_panels ? 0 : i, by_panels ? 1 : count);
    own.begin *= tiles, own.end *= tiles;
    all.push_back(by_panels ? Share{own, i, count} : Share{own, 0, 1});
  }
  return all;
}

template <class Form>
void forward_block(const Problem<Form>& p, const Share& share, const float* U, int64_t tile, int64_t count,
                   float* V, float* M, const Made& made) {
  p.see_tiles(tile, count, V);
  for_panels(p.filters, [&](auto width, int64_t first) {
    if (!share.owns(first, p.filters)) return;
    for (int64_t i = 0; i < Form::POSITIONS; i++)
      multiply_panel<width>(p.V, V + i * p.V.numbers(), count, U + i * p.U.numbers() + first * p.depth,
                            M + i * p.panel_position(width));
    finish<width>(p, tile, count, first, M, made);
  });
}

template <class Form>
void forward_as(Pool pool, Workspace& work, const Problem<Form>& p, int64_t limit, const Made& made) {
  const auto all = shares(pool, limit, p, p.filters, p.form.size.images * p.form.tiles(), 1);
  const float* U = pack(pool, limit, work, p, p.U, false);
  std::vector<float*> V, M;
  for (size_t i = 0; i < all.size(); i++) {
    V.push_back(work.take(Form::POSITIONS * p.V.numbers()));
    M.push_back(work.take(Form::POSITIONS * p.panel_position(4)));
  }
  parallel_for(pool, all.size(), [&](int64_t i) {
    p.for_blocks(all[i].tiles, [&](int64_t first, int64_t count) {
      forward_block(p, all[i], U, first, count, V[i], M[i], made);
    });
  });
}

// What the backward rule reads and writes beside the `Problem`; dX, dW and db null where not wanted.
struct Gradients {
  const float *A, *dA;  // A is read for relu without pooling, `places` with it
  const uint8_t* places;
  float *dX, *dW, *db;
};

// What a thread works with, and its sums; those of its own panels alone in a dU that is shared.
struct Scratch {
  float *V, *Z, *dV, *dU, *db;
};

// Z of some tiles, and their share of db.
template <class Form>
void see_gradient(const Problem<Form>& p, const Gradients& g, int64_t tile, int64_t count, const Scratch& s) {
  constexpr int CELLS = Form::POOLED;
  p.M.for_vectors([&](int64_t filter, int64_t at, ptrdiff_t step) {
    const int64_t lanes = p.filters - filter;
    Vector sum = {};
    for (int64_t t = 0; t < count; t++) {
      Vector dY[Form::RESULTS] = {};
      p.form.for_pooled(tile + t, [&](int i, int64_t from) {
        const Vector dA = load_lanes(g.dA + from + filter, lanes);
        if constexpr (CELLS == 1) {
          dY[i] = !p.relu || load_lanes(g.A + from + filter, lanes) > 0.0f ? dA : Vector{};
          sum += dY[i];
        } else {
          const Integers place = g.places ? load_bytes(g.places + from + filter, lanes) : Integers{};
          UNROLL for (int c = 0; c < CELLS; c++) {
            Vector& dy = dY[Form::result(i, c)];
            dy = share(p.average, p.relu, dA, place, c, CELLS);
            sum += dy;
          }
        }
      });
      p.form.see_results(dY, s.Z + at + t * step, p.M.numbers());
    }
    store(s.db + filter, load(s.db + filter) + sum);
  });
}

// dU += Vᵀ Z over some tiles.
template <class Form>
void weight_gradient(const Problem<Form>& p, const Share& share, int64_t tile, int64_t count,
                     const Scratch& s) {
  p.see_tiles(tile, count, s.V);
  for (int64_t i = 0; i < Form::POSITIONS; i++)
    for_panels(p.filters, [&](auto width, int64_t first) {
      if (!share.owns(first, p.filters)) return;
      add_product<width>(p.V, s.V + i * p.V.numbers(), s.Z + i * p.M.numbers() + first * p.block, count,
                         s.dU + i * p.U.numbers() + first * p.depth);
    });
}

// dX of some tiles: dV = Z Uᵀ by panels of channels, each added to the image.
template <class Form>
void image_gradient(const Problem<Form>& p, const Share& share, const float* turned, int64_t tile,
                    int64_t count, const Scratch& s, float* dX) {
  for_panels(p.depth, [&](auto width, int64_t first) {
    if (!share.owns(first, p.depth)) return;
    const ptrdiff_t position = p.panel_position(width);
    for (int64_t i = 0; i < Form::POSITIONS; i++)
      multiply_panel<width>(p.M, s.Z + i * p.M.numbers(), count,
                            turned + i * p.turned_U.numbers() + first * p.filters, s.dV + i * position);
    for (int64_t t = 0; t < count; t++)
      p.form.template add_cells<width>(dX, tile + t, first, s.dV + t * width * LANES, position);
  });
}

// dW and db: the sums over all threads, in the filters' own form.
template <class Form>
void gather_sums(Pool pool, int64_t limit, const Problem<Form>& p, const std::vector<Scratch>& scratch,
                 const Gradients& g) {
  const int64_t parts = g.dW ? std::clamp<int64_t>(p.U.numbers() >> 12, 1, thread_count(pool, limit)) : 0;
  parallel_for(pool, parts, [&](int64_t part) {
    const Rows rows(p.depth, part, parts);
    p.U.for_vectors([&](int64_t filter, int64_t at, ptrdiff_t step) {
      for (int64_t r = rows.begin; r < rows.end; r++) {
        Vector u[Form::POSITIONS] = {};
        for (const Scratch& s : scratch)
          UNROLL for (int i = 0; i < Form::POSITIONS; i++) u[i] +=
              load(s.dU + i * p.U.numbers() + at + r * step);
        p.form.make_filters(u, p.filters - filter, g.dW + r * p.filters + filter);
      }
    });
  });
  for (int64_t k = 0; g.db && k < p.filters; k++) {
    g.db[k] = 0;
    for (const Scratch& s : scratch) g.db[k] += s.db[k];
  }
}

// A thread's images, or its channels of all images, are its own, so that no two add to one number of dX.
template <class Form>
void backward_as(Pool pool, Workspace& work, const Problem<Form>& p, int64_t limit, const Gradients& g) {
  const Sizes& size = p.form.size;
  const int64_t columns = Form::APART ? std::min(p.filters, p.depth) : 0;
  const auto all = shares(pool, limit, p, columns, size.images, p.form.tiles());
  const float* turned = g.dX ? pack(pool, limit, work, p, p.turned_U, true) : nullptr;
  std::vector<Scratch> scratch;
  for (const Share& share : all)
    scratch.push_back({work.take(g.dW ? Form::POSITIONS * p.V.numbers() : 0),
                       work.take(Form::POSITIONS * p.M.numbers()),
                       work.take(g.dX ? Form::POSITIONS * p.panel_position(4) : 0),
                       share.part ? scratch[0].dU : work.take(g.dW ? Form::POSITIONS * p.U.numbers() : 0),
                       work.take_zeros(round_up(p.filters, LANES))});
  parallel_for(pool, all.size(), [&](int64_t i) {
    const int64_t image = size.image.down * size.image.right * size.channels;
    const Rows images(size.images, i, all.size());
    if (g.dX) std::fill(g.dX + images.begin * image, g.dX + images.end * image, 0.0f);
    const Rows positions(Form::POSITIONS, all[i].part, all[i].parts);
    if (g.dW)
      std::fill(scratch[i].dU + positions.begin * p.U.numbers(),
                scratch[i].dU + positions.end * p.U.numbers(), 0.0f);
  });
  parallel_for(pool, all.size(), [&](int64_t i) {
    p.for_blocks(all[i].tiles, [&](int64_t first, int64_t count) {
      see_gradient(p, g, first, count, scratch[i]);
      if (g.dW) weight_gradient(p, all[i], first, count, scratch[i]);
      if (g.dX) image_gradient(p, all[i], turned, first, count, scratch[i], g.dX);
    });
  });
  if (all[0].parts > 1) scratch.resize(1);  // dU is shared, and each db is of all tiles
  gather_sums(pool, limit, p, scratch, g);
}

template <class T>
auto* data(T& array) {
  return array.element_count() ? array.typed_data() : nullptr;
}

// Call f(form) for the form that is asked for: Winograd's with tiles of `side` results a side, or 0 for
// patches.
template <class F>
Status with_form(const Sizes& size, int64_t side, const float* zeros, F f) {
  const bool pools = size.pool.down * size.pool.right > 1;
  if (pools && (size.pool.down != 2 || size.pool.right != 2 || side == 0))
    return Status::InvalidArgument("products pool windows of 2x2 results of Winograd's tiles");
  if (side == 0)
    f(Patches{size, zeros});
  else if (side == 2)
    pools ? f(Winograd<2, 2>{size, zeros}) : f(Winograd<2, 1>{size, zeros});
  else
    pools ? f(Winograd<4, 2>{size, zeros}) : f(Winograd<4, 1>{size, zeros});
  return Status::Success();
}

// Write A, and the winners' places or givers' bits unless `places` is empty.
Status forward(Pool pool, Array X, Array W, Array b, Result A, PlacesResult places, Numbers stride,
               Numbers dilation, Numbers origin, Numbers window, int64_t groups, bool relu, bool average,
               int64_t side, int64_t threads) {
  const Sizes size(X, W, size_of_images(A->dimensions()), stride, dilation, origin, window, groups);
  if (A->element_count() == 0) return Status::Success();
  Workspace work;
  return with_form(size, side, work.take_zeros(round_up(size.channels, LANES)), [&](const auto& form) {
    const Problem problem(form, X.typed_data(), W.typed_data(), data(b), relu, average);
    forward_as(pool, work, problem, threads, {A->typed_data(), data(*places)});
  });
}

// A is read where σ is relu and nothing is pooled; any of the results may be empty, and is then not computed.
Status backward(Pool pool, Array X, Array W, Array A, Places places, Array dA, Result dX, Result dW,
                Result db, Numbers stride, Numbers dilation, Numbers origin, Numbers window, int64_t groups,
                bool relu, bool average, int64_t side, int64_t threads) {
  const Sizes size(X, W, size_of_images(dA.dimensions()), stride, dilation, origin, window, groups);
  Workspace work;
  const Gradients gradients{data(A), data(dA), data(places), data(*dX), data(*dW), data(*db)};
  return with_form(size, side, work.take_zeros(round_up(size.channels, LANES)), [&](const auto& form) {
    backward_as(pool, work, Problem(form, X.typed_data(), W.typed_data(), nullptr, relu, average), threads,
                gradients);
  });
}

}  // namespace

}  // namespace lamina

#define ATTRIBUTES "stride", "dilation", "origin", "window", "groups", "relu", "average", "side", "threads"
EXPORT(products_forward, lamina::bound(lamina::forward, ATTRIBUTES))
EXPORT(products_backward, lamina::bound(lamina::backward, ATTRIBUTES))
