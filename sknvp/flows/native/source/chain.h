// A chain of layers on blocks of rows, for one member.
#pragma once
#include <algorithm>
#include <vector>

#include "layers.h"

namespace {

// This structure is a chain as Python describes it; `structures.py` declares its fields too.
struct Chain {
  int32_t n_layers, n_parts, n_features, n_context;
  const Layer* layers;
};

// This structure hands out memory piece by piece. Without a start it only counts.
template <class T>
struct Arena {
  T* start;
  int64_t used = 0;

  T* take(int64_t n) {
    T* piece = start ? start + used : nullptr;
    used += round_up(n, 64 / sizeof(T));
    return piece;
  }
};

// Return the layers of a chain with the parameters of one member.
template <class T>
std::vector<Bound<T>> bind(const Chain& chain, int member, T** parts, Arena<T>& arena) {
  std::vector<Bound<T>> layers;
  int first_part = 0;
  for (int i = 0; i < chain.n_layers; i++) {
    Bound<T> bound{&chain.layers[i], chain.n_features, member, first_part, parts + first_part};
    if (bound.layer->kind == LU_LINEAR) {
      const int64_t d = bound.d, wide = bound.padded_d();
      bound.matrix = arena.take(d * wide);
      bound.lower = arena.take(d * d);
      bound.upper = arena.take(d * wide);
      bound.transposed = arena.take(d * wide);
      bound.slopes = arena.take(d);
      if (arena.start) prepare_lu(bound);
    }
    if (bound.layer->kind == STANDARDIZE)
      for (int j = 0; j < bound.d; j++) bound.log_det -= std::log(((const T*)bound.layer->scale)[j]);
    first_part += bound.layer->n_parts;
    layers.push_back(bound);
  }
  return layers;
}

// Find places for the numbers of a layer.
template <class T>
Tape<T> lay_out(const Bound<T>& bound, T* x, T* z, int n_rows, bool keep, Arena<T>& arena) {
  const Layer& layer = *bound.layer;
  Tape<T> tape{x, z};
  if (!bound.is_coupling()) return tape;
  for (int i = 0; i < layer.n_dense; i++) {
    tape.inputs[i] = arena.take((int64_t)layer.sizes[i] * n_rows);
    if (keep) tape.slopes[i] = arena.take((int64_t)layer.sizes[i] * n_rows);
  }
  tape.theta = arena.take((int64_t)bound.n_outputs() * n_rows);
  if (keep && layer.kind == SPLINE) tape.kept = arena.take((int64_t)N_KEPT * bound.n_b() * n_rows);
  return tape;
}

// Find places for the numbers of all layers, in the order of a direction. The layers share their places, unless `keep`
// asks for numbers that the gradients need.
template <class T>
std::vector<Tape<T>> lay_out(const std::vector<Bound<T>>& layers, int n_rows, bool inverse, bool keep, Arena<T>& arena) {
  const int n = (int)layers.size();
  const int64_t size = (int64_t)layers[0].d * n_rows;
  T *x = arena.take(size), *z = arena.take(size);
  std::vector<Tape<T>> tapes;
  int64_t most = arena.used;
  for (int i = 0; i < n; i++) {
    Arena<T> own = arena;
    tapes.push_back(lay_out(layers[inverse ? n - 1 - i : i], x, z, n_rows, keep, own));
    if (keep) arena = own;
    most = std::max(most, own.used);
    std::swap(x, z);
    if (keep && i < n - 1) z = arena.take(size);
  }
  arena.used = std::max(most, arena.used);
  return tapes;
}

template <class T>
void copy(T* to, const T* from, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = from[i];
}

// Reorder the columns, or undo this.
template <class T>
void permute(T* z, const T* x, const Bound<T>& bound, int64_t n_rows, bool inverse) {
  for (int j = 0; j < bound.d; j++) {
    int64_t other = bound.source(j);
    inverse ? copy(z + other * n_rows, x + j * n_rows, n_rows) : copy(z + j * n_rows, x + other * n_rows, n_rows);
  }
}

// Subtract the location from each column and divide by its scale, or undo this.
template <class T>
void standardize(T* z, const T* x, const Bound<T>& bound, int64_t n_rows, bool inverse) {
  const T *locations = (const T*)bound.layer->loc, *scales = (const T*)bound.layer->scale;
  for (int j = 0; j < bound.d; j++, x += n_rows, z += n_rows) {
    const T loc = locations[j], scale = scales[j];
    if (inverse)
      for (int64_t row = 0; row < n_rows; row++) z[row] = x[row] * scale + loc;
    else
      for (int64_t row = 0; row < n_rows; row++) z[row] = (x[row] - loc) / scale;
  }
}

// Map each column to normal scores, or undo this. A member without normal scores keeps its columns as they are.
template <class T, bool INVERSE>
void normal_scores(T* z, const T* x, const Bound<T>& bound, T* log_det, int n_rows) {
  if (bound.is_plain()) return copy(z, x, (int64_t)bound.d * n_rows);
  for (int j = 0; j < bound.d; j++, x += n_rows, z += n_rows) {
    const Curve<T> curve = bound.curve(j);
    for (int row = 0; row < n_rows; row += LANES<T>) curve.template evaluate<INVERSE>(z + row, x + row, log_det + row);
  }
}

// Compute the gradients of the columns from those of their normal scores.
template <class T>
void normal_scores_vjp(T* grad_x, const T* grad_z, const T* x, const Bound<T>& bound, const T* grad_log_det, int n_rows) {
  if (bound.is_plain()) return copy(grad_x, grad_z, (int64_t)bound.d * n_rows);
  for (int j = 0; j < bound.d; j++) {
    const Curve<T> curve = bound.curve(j);
    const int64_t column = (int64_t)j * n_rows;
    for (int row = 0; row < n_rows; row += LANES<T>)
      curve.vjp(grad_x + column + row, grad_z + column + row, x + column + row, grad_log_det + row);
  }
}

template <class T>
void add_constant(T* log_det, T term, int n_rows) {
  for (int row = 0; row < n_rows; row++) log_det[row] += term;
}

// Carry a block through a layer, and add to its log-determinants.
template <class T, bool INVERSE, bool KEEP>
void run_layer(const Bound<T>& bound, const Tape<T>& tape, const T* context, T* log_det, int n_rows) {
  if (bound.layer->kind == STANDARDIZE) {
    standardize(tape.z, tape.x, bound, n_rows, INVERSE);
    add_constant(log_det, INVERSE ? -bound.log_det : bound.log_det, n_rows);
  } else if (bound.layer->kind == NORMAL_SCORES) {
    normal_scores<T, INVERSE>(tape.z, tape.x, bound, log_det, n_rows);
  } else if (bound.layer->kind == PERMUTE) {
    permute(tape.z, tape.x, bound, n_rows, INVERSE);
  } else if (bound.layer->kind == LU_LINEAR) {
    if (INVERSE) {
      copy(tape.z, tape.x, (int64_t)bound.d * n_rows);
      solve_lu(bound, tape.z, n_rows);
    } else {
      multiply<T>(tape.z, {bound.matrix, bound.padded_d(), 1}, tape.x, bound.d, bound.d, n_rows);
    }
    add_constant(log_det, INVERSE ? -bound.log_det : bound.log_det, n_rows);
  } else {
    int64_t a = (int64_t)bound.start_a() * n_rows;
    copy(tape.z + a, tape.x + a, (int64_t)bound.n_a() * n_rows);
    network<T, KEEP>(bound, tape, context, n_rows);
    elementwise<T, INVERSE, KEEP>(bound, tape, log_det, n_rows);
  }
}

// Carry a block through the whole chain. It starts at the x of the first tape and ends at the z of the last tape.
template <class T, bool INVERSE, bool KEEP>
void run(const std::vector<Bound<T>>& layers, const std::vector<Tape<T>>& tapes, const T* context, T* log_det, int n_rows) {
  const size_t n = layers.size();
  for (size_t i = 0; i < n; i++)
    run_layer<T, INVERSE, KEEP>(layers[INVERSE ? n - 1 - i : i], tapes[i], context, log_det, n_rows);
}

// ---- gradients

// This structure holds the gradients of a block. Layer by layer, those of the image become those of the input.
template <class T>
struct Gradients {
  T *x, *spare;  // The gradients of the columns, and room for those of the next layer.
  T* log_det;
  T* context = nullptr;  // The gradient of the context, or null.
  Scratch<T> scratch{};
};

template <class T>
Gradients<T> lay_out_gradients(const std::vector<Bound<T>>& layers, int n_context, int n_rows, Arena<T>& arena) {
  int widest = 0, n_outputs = 0;
  for (const Bound<T>& bound : layers)
    if (bound.is_coupling()) {
      for (int i = 0; i < bound.layer->n_dense; i++) widest = std::max(widest, bound.layer->sizes[i]);
      n_outputs = std::max(n_outputs, bound.n_outputs());
    }
  const int64_t size = (int64_t)layers[0].d * n_rows;
  Gradients<T> grad{arena.take(size), arena.take(size), arena.take(n_rows)};
  grad.context = n_context ? arena.take((int64_t)n_context * n_rows) : nullptr;
  grad.scratch.grad_theta = arena.take((int64_t)n_outputs * n_rows);
  grad.scratch.grad_inputs = arena.take((int64_t)widest * n_rows);
  grad.scratch.other = arena.take((int64_t)widest * n_rows);
  return grad;
}

template <class T>
void add_to(T* sum, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) sum[i] += x[i];
}

template <class T>
void coupling_vjp(const Bound<T>& bound, const Tape<T>& tape, Gradients<T>& grad, T* const* out, bool add, int n_rows) {
  const int64_t n_a = (int64_t)bound.n_a() * n_rows, n_inputs = (int64_t)bound.layer->sizes[0] * n_rows;
  T *a = grad.x + (int64_t)bound.start_a() * n_rows, *b = grad.x + (int64_t)bound.start_b() * n_rows;
  elementwise_vjp(bound, tape, b, grad.scratch.grad_theta, grad.log_det, n_rows);
  network_vjp(bound, tape, grad.scratch, out, add, n_rows);
  add_to(a, grad.scratch.grad_inputs, n_a);
  if (n_inputs > n_a) add_to(grad.context, grad.scratch.grad_inputs + n_a, n_inputs - n_a);
}

// Carry the gradients of a block back through the chain. The gradients of parameters overwrite `out`, or are added to
// it. For an LU layer, they are the gradients of its matrix. The first `n_left_out` layers are left out.
template <class T>
void run_vjp(const std::vector<Bound<T>>& layers, const std::vector<Tape<T>>& tapes, Gradients<T>& grad, T* const* out, bool add,
             int n_rows, size_t n_left_out = 0) {
  for (size_t i = layers.size(); i-- > n_left_out;) {
    const Bound<T>& bound = layers[i];
    T* const* own = out + bound.first_part;
    if (bound.is_coupling()) {
      coupling_vjp(bound, tapes[i], grad, own, add, n_rows);
      continue;
    }
    if (bound.layer->kind == STANDARDIZE) {
      const T* scales = (const T*)bound.layer->scale;
      for (int j = 0; j < bound.d; j++)
        for (int row = 0; row < n_rows; row++) grad.spare[j * n_rows + row] = grad.x[j * n_rows + row] / scales[j];
    } else if (bound.layer->kind == NORMAL_SCORES) {
      normal_scores_vjp(grad.spare, grad.x, tapes[i].x, bound, grad.log_det, n_rows);
    } else if (bound.layer->kind == PERMUTE) {
      permute(grad.spare, grad.x, bound, n_rows, true);
    } else {
      outer<T>(own[0], grad.x, tapes[i].x, bound.d, bound.d, n_rows, add);
      multiply<T>(grad.spare, {bound.matrix, 1, bound.padded_d()}, grad.x, bound.d, bound.d, n_rows);
    }
    std::swap(grad.x, grad.spare);
  }
}

}  // namespace
