// What the library does for one member: evaluation, gradients, and both at once for the likelihood.
#pragma once
#include "call.h"
#include "likelihood.h"

namespace {

// This structure holds the layers of a member, and memory for a block.
template <class T>
struct Workspace {
  std::vector<Bound<T>> layers;
  T *log_det, *context;
  Gradients<T> grad{};
  T* matrices = nullptr;  // Room for the three matrices that the gradients of an LU layer need.

  Workspace(const Chain& chain, int member, T** parts, bool gradients, Arena<T>& arena) {
    layers = bind(chain, member, parts, arena);
    log_det = arena.take(BLOCK);
    context = arena.take((int64_t)chain.n_context * BLOCK);
    if (!gradients) return;
    grad = lay_out_gradients(layers, chain.n_context, BLOCK, arena);
    matrices = arena.take(3 * (int64_t)chain.n_features * layers[0].padded_d());
  }

  // Get ready to carry a block through the chain.
  void begin(const Chain& chain, const Call& call, int member, T* x, int64_t first, int n) {
    fill_block(x, call.x, member, chain.n_features, first, n);
    if (chain.n_context) fill_block(context, call.context, member, chain.n_context, first, n);
    for (int row = 0; row < padded(n); row++) log_det[row] = 0;
  }

  // Turn the gradients of the matrices of LU layers into those of their parameters, after all blocks.
  void finish(T* const* out, T sum_grad_log_det) {
    for (const auto& bound : layers)
      if (bound.layer->kind == LU_LINEAR) finish_lu_vjp(bound, out[bound.first_part], matrices, sum_grad_log_det);
  }
};

template <class T>
int64_t tape_size(const Chain& chain, int64_t n_rows) {
  Arena<T> arena{nullptr}, tape{nullptr};
  Workspace<T> space(chain, 0, nullptr, false, arena);
  for_each_block({0, n_rows}, [&](int64_t, int n) { lay_out(space.layers, padded(n), false, true, tape); });
  return tape.used;
}

// Return how many numbers a member needs besides a tape of all rows: those of a workspace and of the tape of a block.
template <class T>
int64_t memory_size(const Chain& chain, bool gradients) {
  Arena<T> arena{nullptr};
  Workspace<T> space(chain, 0, nullptr, gradients, arena);
  lay_out(space.layers, BLOCK, false, gradients, arena);
  return arena.used;
}

// Carry rows through the chain. With KEEP the tape keeps what the gradients need. If no image is asked for, the
// log-density of each row under a standard normal base is computed instead.
template <class T, bool INVERSE, bool KEEP>
void evaluate(const Chain& chain, const Call& call, int member, Range rows, Arena<T> arena, Arena<T> tape) {
  auto parts = call.parts.of_member<T>(member, chain.n_parts);
  Workspace<T> space(chain, member, parts.data(), false, arena);
  for_each_block(rows, [&](int64_t first, int n) {
    Arena<T> shared = arena;
    auto tapes = lay_out(space.layers, padded(n), INVERSE, KEEP, KEEP ? tape : shared);
    space.begin(chain, call, member, tapes[0].x, first, n);
    run<T, INVERSE, KEEP>(space.layers, tapes, space.context, space.log_det, padded(n));
    if (call.image) {
      empty_block(call.image, tapes.back().z, member, chain.n_features, call.n_rows, first, n);
      empty_block(call.log_det, space.log_det, member, 1, call.n_rows, first, n);
    } else {
      alignas(64) double log_prob[BLOCK];
      log_prob_of_rows(log_prob, tapes.back().z, space.log_det, chain.n_features, padded(n));
      copy(call.value + member * call.n_rows + first, log_prob, n);
    }
  });
}

// Carry gradients back through the chain, with the tape of `evaluate`.
template <class T>
void vjp(const Chain& chain, const Call& call, int member, Arena<T> arena, Arena<T> tape) {
  auto parts = call.parts.of_member<T>(member, chain.n_parts), out = call.grad_parts.of_member<T>(member, chain.n_parts);
  Workspace<T> space(chain, member, parts.data(), true, arena);
  const Columns grad_log_det{call.log_det, call.n_rows, 0, 1};
  T total = 0;
  for_each_block({0, call.n_rows}, [&](int64_t first, int n) {
    auto& grad = space.grad;
    fill_block(grad.x, call.x, member, chain.n_features, first, n);
    fill_block(grad.log_det, grad_log_det, member, 1, first, n);
    for (int i = 0; i < chain.n_context * padded(n); i++) grad.context[i] = 0;
    for (int row = 0; row < n; row++) total += grad.log_det[row];
    run_vjp(space.layers, lay_out(space.layers, padded(n), false, true, tape), grad, out.data(), first > 0, padded(n));
    empty_block(call.image, grad.x, member, chain.n_features, call.n_rows, first, n);
    empty_block(call.grad_context, grad.context, member, chain.n_context, call.n_rows, first, n);
  });
  space.finish(out.data(), total);
}

// Compute the sum of weighted log-densities of all rows under a standard normal base, and its gradients. Since the rows
// pass block by block, the tape stays in the nearest caches.
template <class T>
void log_prob_and_gradients(const Chain& chain, const Call& call, int member, Arena<T> arena) {
  auto parts = call.parts.of_member<T>(member, chain.n_parts), out = call.grad_parts.of_member<T>(member, chain.n_parts);
  Workspace<T> space(chain, member, parts.data(), true, arena);
  const double *weights = call.weights + member * call.n_rows, *tail = call.tail + (call.tail ? member * call.n_rows : 0);
  double value = 0;
  T total = 0;
  size_t n_fixed = 0;  // This many layers at the start have no parameters.
  while (n_fixed < space.layers.size() && !chain.layers[n_fixed].n_parts) n_fixed++;
  for_each_block({0, call.n_rows}, [&](int64_t first, int n) {
    Arena<T> shared = arena;
    auto& grad = space.grad;
    auto tapes = lay_out(space.layers, padded(n), false, true, shared);
    space.begin(chain, call, member, tapes[0].x, first, n);
    run<T, false, true>(space.layers, tapes, space.context, space.log_det, padded(n));
    value += log_prob_of_block(tapes.back().z, space.log_det, chain.n_features, weights + first,
                               call.tail ? tail + first : nullptr, n, padded(n), grad.x, grad.log_det);
    for (int row = 0; row < n; row++) total += grad.log_det[row];
    run_vjp(space.layers, tapes, grad, out.data(), first > 0, padded(n), n_fixed);
  });
  space.finish(out.data(), total);
  call.value[member] = value;
}

}  // namespace
