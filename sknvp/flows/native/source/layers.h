// The layers of a chain, evaluated on a block of rows: standardisation, normal scores, permutations, LU layers and
// couplings.
#pragma once
#include "dense.h"
#include "scores.h"

namespace {

enum Kind : int32_t { STANDARDIZE, NORMAL_SCORES, PERMUTE, LU_LINEAR, AFFINE, SPLINE };
enum Activation : int32_t { RELU, SILU, TANH, ELU, LEAKY_RELU };
constexpr int MAX_DENSE = 9;  // A network has at most this many layers.
constexpr double INPUT_BOUND = 8;
constexpr double LEAKY_SLOPE = 0.2;

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// This structure is a layer as Python describes it; `structures.py` declares its fields too.
struct Layer {
  int32_t kind, n_parts;  // The parts are tensors of parameters.
  int32_t n_first, flip, activation, n_dense;
  int32_t n_plain, n_knots;  // The number of members without normal scores, and the number of knots of a spline.
  int32_t sizes[MAX_DENSE + 1];  // The sizes of the network: of its inputs, hidden layers and outputs.
  double bound;  // The box of splines, or else the bound of the logarithms of scales.
  const int64_t* rows;  // The order of the columns of all members in a permutation, numbered member after member.
  const void *loc, *scale;  // The location and the scale of each column in a standardisation.
  // The splines to normal scores, with n_knots numbers for each column of each member that has normal scores.
  const void *knots, *scores, *slopes;
};

// This structure is a layer with the parameters of one member, and numbers that follow from them.
template <class T>
struct Bound {
  const Layer* layer;
  int d, member, first_part;
  T** parts;  // The parameters, the first of which has the number `first_part` in the chain.
  // The matrices L U, L, U and U^T of an LU layer.
  T *matrix = nullptr, *lower = nullptr, *upper = nullptr, *transposed = nullptr;
  T* slopes = nullptr;  // The slopes of the soft clips of an LU layer.
  T log_det = 0;

  // Return the length of the rows of L U, U and U^T, which end with zeros.
  int padded_d() const { return round_up(d, 2 * LANES<T>); }

  bool is_coupling() const { return layer->kind >= AFFINE; }
  int n_b() const { return layer->flip ? layer->n_first : d - layer->n_first; }
  int n_a() const { return d - n_b(); }
  int start_a() const { return layer->flip ? layer->n_first : 0; }
  int start_b() const { return layer->flip ? 0 : layer->n_first; }
  int n_outputs() const { return layer->sizes[layer->n_dense]; }
  int64_t source(int column) const { return layer->rows[(int64_t)member * d + column] - (int64_t)member * d; }

  bool is_plain() const { return member < layer->n_plain; }
  Curve<T> curve(int column) const {
    const int64_t start = ((int64_t)(member - layer->n_plain) * d + column) * layer->n_knots;
    return {(const T*)layer->knots + start, (const T*)layer->scores + start, (const T*)layer->slopes + start, layer->n_knots};
  }
};

// This structure says where the numbers of a layer lie for a block of rows. Those that its gradients need stay there.
template <class T>
struct Tape {
  T *x, *z;                   // The input and the image of the layer.
  T* inputs[MAX_DENSE] = {};  // The inputs of each layer of the network.
  T* slopes[MAX_DENSE] = {};  // The slopes of the soft clip, or of the activation, that made these inputs.
  T* theta = nullptr;         // The output of the network. For gradients of splines, shares of bins replace its start.
  T* kept = nullptr;          // The N_KEPT numbers of each element that the gradients of splines need.
};

// ---- networks

template <class T, bool KEEP>
INLINE void soft_clip(T* clipped, T* slopes, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; i += LANES<T>) {
    Vector<T> in = load(x + i), r = soft_clip_factor<T>(in, INPUT_BOUND);
    store(clipped + i, in * r);
    if (KEEP) store(slopes + i, r * r * r);
  }
}

// Apply an activation in place. `f` sets a value and a slope from a vector.
template <class T, bool KEEP, class F>
INLINE void apply(T* h, T* slopes, int64_t n, F f) {
  for (int64_t i = 0; i < n; i += LANES<T>) {
    Vector<T> value, slope;
    f(load(h + i), value, slope);
    store(h + i, value);
    if (KEEP) store(slopes + i, slope);
  }
}

template <class T, bool KEEP>
void activate(int activation, T* h, T* slopes, int64_t n) {
  using V = Vector<T>;
  auto silu = [](V x, V& value, V& slope) {
    V gate = logistic<T>(x);
    value = x * gate;
    slope = gate + value * (1 - gate);
  };
  auto tanh = [](V x, V& value, V& slope) {
    value = 2 * logistic<T>(2 * x) - 1;
    slope = 1 - value * value;
  };
  auto relu = [](V x, V& value, V& slope) {
    value = x < V{} ? V{} : x;
    slope = x > V{} ? fill<T>(1) : V{};
  };
  auto elu = [](V x, V& value, V& slope) {
    V below = exponential<T>(x < V{} ? x : V{});
    value = x < V{} ? below - 1 : x;
    slope = below;
  };
  auto leaky_relu = [](V x, V& value, V& slope) {
    slope = x > V{} ? fill<T>(1) : fill<T>(LEAKY_SLOPE);
    value = x * slope;
  };
  if (activation == SILU) apply<T, KEEP>(h, slopes, n, silu);
  if (activation == TANH) apply<T, KEEP>(h, slopes, n, tanh);
  if (activation == RELU) apply<T, KEEP>(h, slopes, n, relu);
  if (activation == ELU) apply<T, KEEP>(h, slopes, n, elu);
  if (activation == LEAKY_RELU) apply<T, KEEP>(h, slopes, n, leaky_relu);
}

// Compute the parameters of a coupling from the columns that condition it and from the context.
template <class T, bool KEEP>
void network(const Bound<T>& bound, const Tape<T>& tape, const T* context, int n_rows) {
  const Layer& layer = *bound.layer;
  int64_t n_a = (int64_t)bound.n_a() * n_rows, n_inputs = (int64_t)layer.sizes[0] * n_rows;
  if (n_inputs) soft_clip<T, KEEP>(tape.inputs[0], tape.slopes[0], tape.x + (int64_t)bound.start_a() * n_rows, n_a);
  if (n_inputs > n_a) soft_clip<T, KEEP>(tape.inputs[0] + n_a, tape.slopes[0] + n_a, context, n_inputs - n_a);
  for (int i = 0; i < layer.n_dense; i++) {
    int n_in = layer.sizes[i], n_out = layer.sizes[i + 1];
    bool last = i == layer.n_dense - 1;
    T* y = last ? tape.theta : tape.inputs[i + 1];
    multiply<T>(y, {bound.parts[i], n_in, 1}, tape.inputs[i], n_out, n_in, n_rows, bound.parts[layer.n_dense + i]);
    if (!last) activate<T, KEEP>(layer.activation, y, tape.slopes[i + 1], (int64_t)n_out * n_rows);
  }
}

// This structure has room for the gradients of a coupling: of the output of the network, and of two layers in turn.
template <class T>
struct Scratch {
  T *grad_theta, *grad_inputs, *other;
};

// Compute the gradients of the network's parameters, and of its inputs. The latter are in `grad_inputs` in the end.
template <class T>
void network_vjp(const Bound<T>& bound, const Tape<T>& tape, const Scratch<T>& scratch, T* const* out, bool add, int n_rows) {
  const Layer& layer = *bound.layer;
  const T* grad = scratch.grad_theta;
  for (int i = layer.n_dense - 1; i >= 0; i--) {
    int n_in = layer.sizes[i], n_out = layer.sizes[i + 1];
    sum_rows<T>(out[layer.n_dense + i], grad, n_out, n_rows, add);
    outer<T>(out[i], grad, tape.inputs[i], n_out, n_in, n_rows, add);
    T* of_inputs = i % 2 ? scratch.other : scratch.grad_inputs;
    multiply<T>(of_inputs, {bound.parts[i], 1, n_in}, grad, n_in, n_out, n_rows);
    for (int64_t k = 0; k < (int64_t)n_in * n_rows; k += LANES<T>)
      store<T>(of_inputs + k, load(of_inputs + k) * load(tape.slopes[i] + k));
    grad = of_inputs;
  }
}

// ---- couplings

template <class T, bool INVERSE, bool KEEP>
void elementwise(const Bound<T>& bound, const Tape<T>& tape, T* log_det, int n_rows) {
  const int64_t n = (int64_t)bound.n_b() * n_rows, start = (int64_t)bound.start_b() * n_rows;
  const T* x = tape.x + start;
  T* z = tape.z + start;
  const T limit = (T)bound.layer->bound;
  for (int64_t column = 0; column < n; column += n_rows)
    for (int row = 0; row < n_rows; row += LANES<T>) {
      int64_t i = column + row;
      if (bound.layer->kind == SPLINE) {
        spline_element<T, INVERSE, KEEP>(z + i, x + i, tape.theta + i, tape.kept + i, log_det + row, n, limit);
        continue;
      }
      Vector<T> s = load(tape.theta + i), t = load(tape.theta + n + i);
      s *= soft_clip_factor<T>(s, limit);
      store(z + i, INVERSE ? (load(x + i) - t) / exponential<T>(s) : load(x + i) * exponential<T>(s) + t);
      store(log_det + row, INVERSE ? load(log_det + row) - s : load(log_det + row) + s);
    }
}

// Compute the gradients of x, which replace those of z in `grad`, and of the parameters of the element-wise map.
template <class T>
void elementwise_vjp(const Bound<T>& bound, const Tape<T>& tape, T* grad, T* grad_theta, const T* grad_log_det, int n_rows) {
  const int64_t n = (int64_t)bound.n_b() * n_rows;
  const T limit = (T)bound.layer->bound;
  const T* x = tape.x + (int64_t)bound.start_b() * n_rows;
  for (int64_t column = 0; column < n; column += n_rows)
    for (int row = 0; row < n_rows; row += LANES<T>) {
      int64_t i = column + row;
      Vector<T> grad_s = load(grad_log_det + row);
      if (bound.layer->kind == SPLINE) {
        spline_vjp_element<T>(grad + i, grad_theta + i, x + i, tape.theta + i, tape.kept + i, grad_s, n, limit);
        continue;
      }
      Vector<T> s = load(tape.theta + i), r = soft_clip_factor<T>(s, limit), grad_t = load(grad + i);
      Vector<T> grad_x = grad_t * exponential<T>(s * r);
      store(grad_theta + i, (grad_s + grad_x * load(x + i)) * (r * r * r));
      store(grad_theta + n + i, grad_t);
      store(grad + i, grad_x);
    }
}

// ---- LU layers

// Split the matrix of parameters into L and U, and multiply these.
template <class T>
void prepare_lu(Bound<T>& bound) {
  const int d = bound.d, wide = bound.padded_d();
  const T limit = (T)bound.layer->bound;
  bound.log_det = 0;
  for (int i = 0; i < d; i++) {
    const T* weights = bound.parts[0] + i * d;
    T r = 1 / std::sqrt(1 + weights[i] * weights[i] / (limit * limit));
    bound.slopes[i] = r * r * r;
    bound.log_det += weights[i] * r;
    for (int j = 0; j < wide; j++) {
      T diagonal = i == j ? std::exp(weights[i] * r) : T(0);
      bound.upper[i * wide + j] = i < j && j < d ? weights[j] : diagonal;
      bound.transposed[i * wide + j] = j < i ? bound.parts[0][j * d + i] : diagonal;
      if (j < d) bound.lower[i * d + j] = i > j ? weights[j] : T(i == j);
    }
  }
  multiply<T>(bound.matrix, {bound.lower, d, 1}, bound.upper, d, d, wide);
}

// Solve L U x = z for x, which replaces z.
template <class T>
void solve_lu(const Bound<T>& bound, T* x, int n_rows) {
  const int d = bound.d, wide = bound.padded_d();
  auto subtract = [&](int i, int j, T factor) {
    for (int row = 0; row < n_rows; row += LANES<T>) {
      T* at = x + (int64_t)i * n_rows + row;
      store<T>(at, load(at) - factor * load(x + (int64_t)j * n_rows + row));
    }
  };
  for (int i = 0; i < d; i++)
    for (int j = 0; j < i; j++) subtract(i, j, bound.lower[i * d + j]);
  for (int i = d - 1; i >= 0; i--) {
    for (int j = i + 1; j < d; j++) subtract(i, j, bound.upper[i * wide + j]);
    for (int row = 0; row < n_rows; row += LANES<T>) {
      T* at = x + (int64_t)i * n_rows + row;
      store<T>(at, load(at) / bound.upper[i * wide + i]);
    }
  }
}

// Turn the gradient of L U in `out` into the gradient of the parameters. `scratch` has room for three padded matrices.
template <class T>
void finish_lu_vjp(const Bound<T>& bound, T* out, T* scratch, T sum_grad_log_det) {
  const int d = bound.d, wide = bound.padded_d();
  T *grad = scratch, *of_lower = grad + d * wide, *of_upper = of_lower + d * wide;
  for (int i = 0; i < d; i++)
    for (int j = 0; j < wide; j++) grad[i * wide + j] = j < d ? out[i * d + j] : T(0);
  multiply<T>(of_lower, {grad, wide, 1}, bound.transposed, d, d, wide);
  multiply<T>(of_upper, {bound.lower, 1, d}, grad, d, d, wide);
  for (int i = 0; i < d; i++) {
    for (int j = 0; j < d; j++) out[i * d + j] = (i > j ? of_lower : of_upper)[i * wide + j];
    T& diagonal = out[i * d + i];
    diagonal = (diagonal * bound.upper[i * wide + i] + sum_grad_log_det) * bound.slopes[i];
  }
}

}  // namespace
